"""A secret of raw's URL is nowhere: not in Dagster's home, the lake or what a command prints."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from unittest import mock

import dagster as dg
import fsspec
import pytest
from fsspec.config import conf
from fsspec.implementations.memory import MemoryFileSystem

from tests.cli.conftest import Itememb
from tests.conftest import TINY_OPTIONS
from tests.pipeline.test_late import Daemon

USER, PASSWORD = "user-of-the-vault", "pass/w@rd+of:the-vault"
URL = "vault://${VAULT_USER}:${VAULT_PASSWORD}@host/raw"
SPELLED = (PASSWORD, "pass%2Fw%40rd", "pass/w%40rd", "of:the-vault", "of%3Athe-vault")


class Vault(MemoryFileSystem):
    """Files that only a login reads; it is in every error, as in those of careless packages."""

    protocol = "vault"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    def __init__(self, username: str = "", password: str = "", **more) -> None:
        super().__init__(**more)
        self.login = f"vault://{username}:{password}@host"
        if (username, password) != (USER, PASSWORD):
            raise PermissionError(f"{self.login}: no entry")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.rsplit("://", maxsplit=1)[-1].strip("/")

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **more):
        # Hashing, in blocks, is allowed: what fails is the stage that reads the rows.
        if path.endswith("brands.pq") and mode == "rb" and block_size is None:
            raise PermissionError(f"{self.login}{path}: locked")
        return super()._open(path, mode, block_size, **more)


@pytest.fixture
def vault(tiny_raw: Path) -> Iterator[None]:
    """The tiny world in a vault, and the login in the environment."""
    Vault.store.clear()
    fsspec.register_implementation("vault", Vault, clobber=True)
    filled = Vault(USER, PASSWORD)
    for path in tiny_raw.rglob("*.pq"):
        filled.pipe_file(f"/host/raw/{path.relative_to(tiny_raw)}", path.read_bytes())
    login = {"VAULT_USER": USER, "VAULT_PASSWORD": PASSWORD}
    with mock.patch.dict(os.environ, login), mock.patch.dict(conf):
        yield


def found_in(folder: Path, texts: tuple[str, ...]) -> set[str]:
    """Which of the texts any file of a folder holds."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found |= {text for text in texts if text.encode() in data}
    return found


@pytest.mark.slow
def test_a_run_leaves_no_secret_anywhere(
    itememb: Itememb, vault: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    words = ("run", "--raw", URL, "--lake", "lake", *TINY_OPTIONS, "--workers", "1")
    made = itememb(*words, "--select", 'key:"receipts" or key:"users" or key:"brands"')
    assert made.code == 1  # brands are locked
    assert "locked" in made.err
    assert "${VAULT_PASSWORD}" in made.err
    assert list((tmp_path / "lake/receipts").glob("day=*"))
    assert list((tmp_path / "lake/users").glob("*.parquet"))
    assert found_in(tmp_path, SPELLED) == set()
    assert found_in(tmp_path / "home", ("${VAULT_PASSWORD}", "locked")) == {
        "${VAULT_PASSWORD}",
        "locked",
    }
    assert not [text for text in SPELLED if text in made.out + made.err]


def test_a_login_that_is_refused_is_shown_by_its_variable(
    itememb: Itememb, vault: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VAULT_USER", "somebody-else")
    refused = itememb("run", "--raw", URL, "--lake", "lake")
    assert refused.code == 1
    assert len(refused.err.strip().splitlines()) == 1
    assert "${VAULT_USER}:${VAULT_PASSWORD}" in refused.err
    assert "the-vault" not in refused.err
    assert "somebody" not in refused.err


def test_a_literal_secret_is_refused_and_explained(itememb: Itememb):
    for command in ("run", "ui"):
        refused = itememb(command, "--raw", "ftp://me:hunter2@host/raw", "--lake", "lake")
        assert refused.code == 2
        assert "ftp://me:***@host/raw" in refused.err
        assert "${NAME}" in refused.err
        assert "hunter2" not in refused.out + refused.err


def test_what_the_sensor_and_the_schedules_say_shows_no_secret(
    vault: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VAULT_USER", "somebody-else")
    daemon = Daemon(URL, tmp_path / "lake")
    said = [daemon.says()]
    for schedule in daemon.defs.schedules:
        with dg.build_schedule_context(resources=dict(daemon.defs.resources)) as context:
            said.append(schedule.evaluate_tick(context).skip_message)
    for text in said:
        assert "${VAULT_USER}:${VAULT_PASSWORD}" in text
        assert "the-vault" not in text
        assert "somebody" not in text
