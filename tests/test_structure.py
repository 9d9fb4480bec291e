"""The rules of the code base that no linter here checks: layers, sizes, import circles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("itememb_core/**/*.py"), *ROOT.glob("itememb_dagster/**/*.py")])
HEAVY = ("torch", "faiss", "sklearn", "matplotlib", "pyspark", "scipy", "pandas", "lightgbm")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, top_level_only: bool = True) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_there_are_sources():
    assert len(SOURCES) > 30


def test_core_never_imports_dagster():
    found = [
        (path.name, name)
        for path in SOURCES
        if "itememb_core" in path.parts
        for name in imported(path, top_level_only=False)
        if name.split(".")[0] in {"dagster", "itememb_dagster"}
    ]
    assert found == []


def test_functions_and_modules_are_short():
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 40
    ]
    large = [path.name for path in SOURCES if len(path.read_text().splitlines()) > 400]
    assert (long, large) == ([], [])


def test_asset_bodies_have_at_most_25_lines():
    long = [
        f"{path.name}: {node.name}"
        for path in (ROOT / "itememb_dagster/assets").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and node.body[-1].end_lineno - node.body[0].lineno + 1 > 25
    ]
    assert long == []


def test_no_import_circle():
    modules = {module_name(path): path for path in SOURCES}
    graph = {
        name: {target for target in imported(path) if target in modules and target != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in graph[name]:
                # A package's __init__ may gather its own modules.
                if not name.startswith(f"{target}."):
                    visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("module", ["itememb_dagster.definitions", "itememb_dagster.cli"])
def test_loading_imports_nothing_heavy_and_needs_no_environment(module, tmp_path):
    code = f"import sys; import {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "[]", result.stderr
