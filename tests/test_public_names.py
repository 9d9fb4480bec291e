"""The names of ``itememb_core`` that people use: all there, typed, and imported when used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import itememb_core

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ibis", "pandas", "faiss", "scipy", "sklearn", "lightgbm", "matplotlib")


def seen_by_type_checkers() -> dict[str, tuple[str, str]]:
    """Names under ``TYPE_CHECKING``, with their module and what it calls them."""
    tree = ast.parse((ROOT / "itememb_core/__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: (node.module.removeprefix("itememb_core."), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def loaded_after(code: str) -> set[str]:
    told = f"import sys; {code}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_type_checkers_see_what_is_imported():
    assert seen_by_type_checkers() == itememb_core._DEFINED
    assert sorted(itememb_core._DEFINED) == sorted(itememb_core.__all__)
    assert 20 <= len(itememb_core.__all__) <= 30


@pytest.mark.parametrize("name", itememb_core.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str):
    found = getattr(itememb_core, name)
    assert found.__doc__
    assert getattr(itememb_core, name) is found
    assert name in dir(itememb_core)


def test_the_package_is_light_and_a_name_brings_only_what_it_needs():
    assert loaded_after("import itememb_core") == set()
    assert loaded_after("from itememb_core import Settings, ItemembError; Settings()") == set()
    assert loaded_after("from itememb_core import copurchase_edges") == {"ibis"}
    models = "ItemModel, ItemIndex, LinkScorer, UserModel, fit_item_model, fit_user_model"
    assert loaded_after(f"from itememb_core import {models}") <= {"ibis"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"itememb_core.*no attribute 'nothing'"):
        itememb_core.nothing  # noqa: B018


def test_both_packages_say_that_they_are_typed():
    assert (ROOT / "itememb_core/py.typed").is_file()
    assert (ROOT / "itememb_dagster/py.typed").is_file()
