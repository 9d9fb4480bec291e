"""A fixed selection of the spoiled folders of ``tests/bench/bad_inputs.py``, two of each kind."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.bad_inputs.case import Case, cases, write_worlds
from tests.bench.bad_inputs.fault import FAULTS
from tests.bench.bad_inputs.run import make_bases, run_case
from tests.bench.bad_inputs.tables import Made

EACH = 2


def selected() -> list[Case]:
    """The first cases of each kind of fault."""
    count: Counter[str] = Counter()
    found = []
    for case in cases(400, seed=17):
        count[case.kind] += 1
        if count[case.kind] <= EACH:
            found.append(case)
    return found


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worlds")
    write_worlds(root)
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def bases(worlds: Path, work: Path) -> dict[str, Made]:
    return make_bases(worlds, work)


def test_every_kind_of_fault_is_selected() -> None:
    assert Counter(case.kind for case in selected()) == dict.fromkeys(FAULTS, EACH)
    assert {case.world for case in selected()} == {"tecd", "notebook", "ozon"}


def parameters() -> Iterator[Any]:
    """The first case of each kind; the others are slow together."""
    kinds: set[str] = set()
    for case in selected():
        name = f"{case.kind}-{case.file}-{case.number}"
        yield pytest.param(case, id=name, marks=[pytest.mark.slow] if case.kind in kinds else [])
        kinds.add(case.kind)


@pytest.mark.parametrize("case", parameters())
def test_a_spoiled_file_is_named_and_nothing_gets_lost(
    case: Case, worlds: Path, work: Path, bases: dict[str, Made]
) -> None:
    result = run_case(case, worlds, work, bases)
    assert result.wrong == [], result.did
