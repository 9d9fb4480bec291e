"""A raw file is hashed once a process, and again whatever way it changed."""

import os
import time
from pathlib import Path

import pytest

from itememb_core.raw import RawFile, fingerprint
from itememb_dagster.lake import counts


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Which files were hashed."""
    found: list[str] = []

    def told(root: str, file: RawFile) -> str:
        found.append(file.path)
        return fingerprint(root, file)

    monkeypatch.setattr(counts, "fingerprint", told)
    counts._print_once.cache_clear()
    return found


FILE = RawFile("a.pq", "receipts", None, 3)


def test_a_file_that_changed_is_hashed_again_though_its_size_and_time_are_as_before(
    tmp_path: Path, hashed, monkeypatch
):
    monkeypatch.setattr(counts, "SETTLED_NS", 0)
    path = tmp_path / FILE.path
    path.write_bytes(b"one")
    state, first = path.stat(), counts.raw_print(str(tmp_path), FILE)
    assert counts.raw_print(str(tmp_path), FILE) == first
    assert len(hashed) == 1
    time.sleep(0.05)  # longer than a tick of the file system's clock
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    assert counts.raw_print(str(tmp_path), FILE) == fingerprint(str(tmp_path), FILE) != first


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path, hashed):
    (tmp_path / FILE.path).write_bytes(b"one")
    for _ in range(2):
        counts.raw_print(str(tmp_path), FILE)
    assert len(hashed) == 2
