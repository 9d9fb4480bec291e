"""The source that a function can reach: what makes results stale besides inputs and settings.

A function of the wiring is followed name by name, through the helpers that it calls; a core module
that it names is taken whole, with every core module that this one imports, anywhere in it. What a
package's ``__init__`` only passes on is followed to where it is defined. Comments and docstrings
are left out. Settings, schemas and services count by the values that are read, not by their source.
"""

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pydantic import BaseModel

from itememb_core.schemas import of_some_width
from itememb_dagster.lake.stamps import digest

CORE: Final = "itememb_core"
WIRING: Final = "itememb_dagster"
#: Modules of which the values count that are read, not the source.
SCHEMAS: Final = f"{CORE}.schemas"
VALUES: Final = (f"{CORE}.settings", SCHEMAS, f"{CORE}.services")

_NAMED: Final = (ast.Name, ast.Attribute)
_WITH_DOCSTRING: Final = (ast.Module, ast.ClassDef, ast.FunctionDef)

#: A module's text, or None where there is no such module.
Read = Callable[[str], str | None]

#: A name in a module; None: the module itself.
Symbol = tuple[str, str | None]


@cache
def module_text(name: str) -> str | None:
    """Return the source of a module, which is not imported; None where there is none."""
    if name.split(".", maxsplit=1)[0] not in {CORE, WIRING}:
        return None
    root = importlib.util.find_spec(name.split(".", maxsplit=1)[0])
    assert root is not None
    assert root.origin is not None
    path = Path(root.origin).parent.joinpath(*name.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file.read_text()
    return None


@dataclass(frozen=True)
class Module:
    """A parsed module: its tree without docstrings, what it imports, defines and refers to."""

    name: str
    tree: ast.Module
    imported: dict[str, Symbol]
    defined: dict[str, ast.stmt] = field(repr=False)
    chains: set[tuple[str, ...]] = field(repr=False)


@dataclass
class Sources:
    """Parsed modules of both packages, read once.

    Attributes:
        read: Gives a module's text; tests plant changes with it.
    """

    read: Read = module_text
    _modules: dict[str, Module | None] = field(default_factory=dict)
    _followed: dict[str, tuple[str, frozenset[Symbol]]] = field(default_factory=dict)
    _pieces: dict[Symbol, tuple[str, tuple[Symbol, ...]]] = field(default_factory=dict)

    def module(self, name: str) -> Module | None:
        """Return a parsed module; None where there is none."""
        if name not in self._modules:
            text = self.read(name)
            self._modules[name] = None if text is None else self._parsed(name, text)
        return self._modules[name]

    def _parsed(self, name: str, text: str) -> Module:
        tree = ast.parse(text)
        imported: dict[str, Symbol] = {}
        nodes = list(_walk(tree))
        for node in nodes:
            if isinstance(node, _WITH_DOCSTRING):
                _drop_docstring(node)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    is_module = self.read(whole) is not None
                    target = (whole, None) if is_module else (node.module, alias.name)
                    imported[alias.asname or alias.name] = target
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    imported[alias.asname or first] = (alias.name if alias.asname else first, None)
        defined = {name: node for node in tree.body for name in _names_defined(node)}
        return Module(name, tree, imported, defined, set(_chains(nodes)))

    def used(self, node: ast.AST, module: Module) -> Iterator[Symbol]:
        """Yield what a piece of a module refers to, followed to where it is defined."""
        nodes = list(_walk(node))
        own: set[str] = _local_names(nodes) if isinstance(node, ast.FunctionDef) else set()
        for name, *rest in set(_chains(nodes)):
            if name not in own:
                yield from self._target(module, name, *rest)

    def of_module(self, name: str) -> tuple[str, frozenset[Symbol]]:
        """Return a module's source as it counts, and all that it refers to; kept for the next."""
        if name not in self._followed:
            module = self.module(name)
            assert module is not None
            found = {symbol for chain in module.chains for symbol in self._target(module, *chain)}
            for target in module.imported.values():
                if target[1] is not None:  # an imported module counts by what is used of it
                    found |= set(self.resolved(*target))
            others = frozenset(symbol for symbol in found if symbol[0] != name)
            self._followed[name] = ast.unparse(module.tree), others
        return self._followed[name]

    def of_piece(self, node: ast.stmt, module: Module, name: str) -> tuple[str, tuple[Symbol, ...]]:
        """Return a piece's source without decorators and what it refers to; kept for the next."""
        if (module.name, name) not in self._pieces:
            if isinstance(node, ast.FunctionDef):
                node = ast.FunctionDef(**{**dict(ast.iter_fields(node)), "decorator_list": []})
                ast.fix_missing_locations(node)
            self._pieces[module.name, name] = ast.unparse(node), tuple(self.used(node, module))
        return self._pieces[module.name, name]

    def _target(self, module: Module, name: str, *rest: str) -> Iterator[Symbol]:
        if name in module.imported:
            yield from self.resolved(*module.imported[name], rest)
        elif name in module.defined:
            yield module.name, name

    def resolved(
        self, module: str, name: str | None, rest: tuple[str, ...] = ()
    ) -> Iterator[Symbol]:
        """Yield where a name of a module is defined, through what packages only pass on."""
        if name is None and rest:
            inner = f"{module}.{rest[0]}"
            if self.module(inner):
                yield from self.resolved(inner, None, rest[1:])
            else:
                yield from self.resolved(module, rest[0], rest[1:])
            return
        found = self.module(module)
        if found is None:
            return
        if name is None:
            for passed in [*found.imported.values()] if _only_passes_on(found) else ():
                yield from self.resolved(*passed)
            yield module, None
        elif name in found.defined or name not in found.imported:
            yield module, name
        else:
            yield from self.resolved(*found.imported[name], rest)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        node.body = node.body[1:] or [ast.Pass()]


def _names_defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
    elif isinstance(node, ast.If | ast.Try | ast.With | ast.For):
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.stmt):
                yield from _names_defined(inner)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, in no order; ``ast.walk`` takes twice as long."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                waiting += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                waiting.append(value)


def _local_names(nodes: Sequence[ast.AST]) -> set[str]:
    """A function's parameters and variables: no names of the module, though they are called so."""
    names = {n.arg for n in nodes if isinstance(n, ast.arg)}
    return names | {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _chains(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, ...]]:
    """Every name, with the attributes taken of it, as far as they go."""
    found_all = [n for n in nodes if isinstance(n, _NAMED)]
    inside = {id(n.value) for n in found_all if isinstance(n, ast.Attribute)}
    for found in found_all:
        if id(found) not in inside:
            chain = _chain(found)
            if chain:
                yield chain


def _chain(node: ast.expr) -> tuple[str, ...]:
    """``a.b.c`` as its names; empty where it does not start with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _only_passes_on(module: Module) -> bool:
    """Whether a module only gathers names of others: it defines nothing but ``__all__``."""
    return not set(module.defined) - {"__all__"}


@dataclass
class Reach:
    """All that one function can reach.

    Attributes:
        functions: Pieces of the wiring, by module and name, without decorators.
        modules: Core modules, by name.
        values: Values read from settings, schemas and services, by module and name.
    """

    sources: Sources
    functions: dict[Symbol, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    values: dict[Symbol, str] = field(default_factory=dict)

    @classmethod
    def of(cls, module: str, name: str, sources: Sources) -> "Reach":
        """Follow a function of the wiring."""
        found = cls(sources)
        found._visit((module, name))
        return found

    @property
    def digest(self) -> str:
        """A hash of it all."""
        parts = [*self.functions.items(), *self.modules.items(), *self.values.items()]
        return digest(text for key, value in sorted(parts, key=str) for text in (str(key), value))

    def _visit(self, symbol: Symbol) -> None:
        name, attribute = symbol
        if any(name == v or name.startswith(f"{v}.") for v in VALUES):
            self._value(name, attribute)
        elif name.split(".")[0] == CORE:
            self._core(name)
        elif name.split(".")[0] == WIRING and attribute is not None:
            self._piece(name, attribute, self.functions)

    def _core(self, name: str) -> None:
        module = self.sources.module(name)
        if module is None or name in self.modules or _only_passes_on(module):
            return
        self.modules[name], others = self.sources.of_module(name)
        for symbol in others:
            self._visit(symbol)

    def _piece(self, name: str, attribute: str, kept: dict[Symbol, str]) -> None:
        """A function or constant, and what it refers to; classes of the wiring are its own."""
        module = self.sources.module(name)
        node = module.defined.get(attribute) if module else None
        if module is None or node is None or (name, attribute) in kept:
            return
        if isinstance(node, ast.ClassDef) and name.split(".", maxsplit=1)[0] == WIRING:
            return
        kept[name, attribute], others = self.sources.of_piece(node, module, attribute)
        for symbol in others:
            self._visit(symbol)

    def _value(self, name: str, attribute: str | None) -> None:
        if (name, attribute) in self.values:
            return
        module = importlib.import_module(name)
        if attribute is None:
            found = self.sources.module(name)
            for public in (n for n in (found.defined if found else ()) if not n.startswith("_")):
                self._value(name, public)
            return
        value = getattr(module, attribute, None)
        if isinstance(value, type) and issubclass(value, BaseModel):
            return  # a stage's stamp has the settings that it reads
        if name.startswith(SCHEMAS) and inspect.isfunction(value):
            self.values[name, attribute] = canonical(of_some_width(value))
        elif isinstance(value, type) or inspect.isfunction(value):
            self._piece(name, attribute, self.values)
        else:
            self.values[name, attribute] = canonical(value)


def canonical(value: Any) -> str:
    """Return a value as text that is equal for equal values."""
    if isinstance(value, pa.Schema):
        return ", ".join(f"{f.name} {f.type} {f.nullable}" for f in value)
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(canonical, value)))}}}"
    return repr(value)


def settings_read(module: str, name: str, sources: Sources, model: type[BaseModel]) -> list[str]:
    """Return the settings that a stage's function and its helpers read, sorted.

    Args:
        module: Where the function is.
        name: Its name.
        sources: What is followed.
        model: The settings' class.

    Raises:
        TypeError: ``ctx.settings`` is used other than as ``ctx.settings.<name>``.
    """
    found: set[str] = set()
    for (place, what), _text in Reach.of(module, name, sources).functions.items():
        holder = sources.module(place)
        assert holder is not None
        node = holder.defined[str(what)]
        for chain in _chains(list(_walk(node))):
            if chain[:2] == ("ctx", "cut"):
                found.add("holdout_days")
            if chain[:2] != ("ctx", "settings"):
                continue
            if len(chain) < 3:
                raise TypeError(f"{place}.{what}: read settings as ctx.settings.<name>")
            found.add(_field(chain[2:], model))
    whole = {one for one in found if "." not in one}
    return sorted(one for one in found if one in whole or one.split(".")[0] not in whole)


def _field(chain: tuple[str, ...], model: type[BaseModel]) -> str:
    """``seed`` or ``item_model.dim``: as deep as fields go."""
    kind = model.model_fields[chain[0]].annotation
    nested = isinstance(kind, type) and issubclass(kind, BaseModel)
    if nested and len(chain) > 1 and chain[1] in kind.model_fields:  # type: ignore[union-attr]
        return f"{chain[0]}.{chain[1]}"
    return chain[0]
