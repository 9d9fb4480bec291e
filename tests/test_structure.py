"""The rules of the code base that no linter here checks: layers, sizes, import circles."""

import ast
import subprocess
import sys
from collections import Counter
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


def test_no_folder_has_more_than_twelve_modules():
    folders = Counter(path.parent for path in SOURCES)
    assert [(str(folder), n) for folder, n in folders.items() if n > 12] == []


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
        name: {
            target
            for target in imported(path, top_level_only=False)
            if target in modules and target != name
        }
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


def _annotations(node: ast.AST) -> list[ast.expr]:
    """What a public definition promises: of a function's arguments and result, a class's fields."""
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    of = node.args
    every = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
    found = [arg.annotation for arg in every if arg is not None]
    return [annotation for annotation in (*found, node.returns) if annotation is not None]


def _says_any(annotation: ast.expr) -> bool:
    """Whether ``Any`` stands in it, in quotes as well."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Attribute):
            if (node.id if isinstance(node, ast.Name) else node.attr) == "Any":
                return True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                quoted = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                continue  # a literal's own text
            if not isinstance(quoted, ast.Constant) and _says_any(quoted):
                return True
    return False


def signatures_with_any(source: str) -> list[str]:
    """Public functions, methods, fields and aliases of a module whose types say ``Any``."""
    found = []
    body = [(node, "") for node in ast.parse(source).body]
    for node, owner in body:
        name = getattr(node, "name", None)
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            name = target.id if isinstance(target, ast.Name) else None
        if name is None or (name.startswith("_") and name != "__init__"):
            continue
        if isinstance(node, ast.ClassDef):
            body += [(part, f"{name}.") for part in node.body]
        types = _annotations(node)
        if isinstance(node, ast.Assign) and not owner:
            types = [node.value] if isinstance(node.value, ast.Subscript | ast.BinOp) else []
        if any(_says_any(annotation) for annotation in types):
            found.append(f"{owner}{name}:{node.lineno}")
    return found


def test_no_public_signature_of_the_core_says_any():
    found = {
        str(path.relative_to(ROOT)): names
        for path in SOURCES
        if "itememb_core" in path.parts and (names := signatures_with_any(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a: int, b: dict[str, Any]) -> int: ...", ["f:1"]),
        ("def f() -> 'list[Any]': ...", ["f:1"]),
        ("def f(*a: typing.Any): ...", ["f:1"]),
        ("class C:\n  x: Any\n  def _g(self, a: Any): ...\n  def g(self, *, a: Any): ...",
         ["C.x:2", "C.g:4"]),
        ("Alias = dict[str, Any]", ["Alias:1"]),
        ("def _f(a: Any): ...\nclass _C:\n  x: Any\n_Alias = list[Any]", []),
        ("def f(a: 'Literal[\"Any one\"]') -> int:\n  x: Any = 1\n  return x", []),
    ],
)  # fmt: skip
def test_any_is_found_wherever_it_is_promised(source, found):
    assert signatures_with_any(source) == found
