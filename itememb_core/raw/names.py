"""Names of columns: exact ones, and those that an engine would take for another.

Engines do not tell ``Price`` from ``price``: they read whichever comes first. So a file's own names
are compared with those that are wanted before any engine sees it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

#: What engines call columns of their own, which would hide behind a file's.
ENGINES_OWN: Final = frozenset({"_raw_file", "file_row_number", "_metadata"})


def near_name(name: str, names: Iterable[str]) -> str | None:
    """The first name that differs from ``name`` by case only; None where none does."""
    return next((n for n in names if n != name and n.casefold() == name.casefold()), None)


def name_fault(schema: pa.Schema, wanted: Iterable[str]) -> str | None:
    """What is wrong with a file's names of columns, and of what is nested in them.

    Args:
        schema: The file's.
        wanted: The names that will be read, there or not.

    Returns:
        What was found and what is expected, without the file; None for good names. Columns that
        are not wanted may differ by case from one another.
    """
    for name in wanted:
        near = near_name(name, schema.names)
        if near and name in schema.names:
            return f"columns '{name}' and '{near}' differ by case only, expected '{name}' alone"
    for name in schema.names:
        if name.casefold() in ENGINES_OWN:
            return f"column '{name}' has a name that engines keep for themselves, expected another"
    for field in schema:
        for one, other in _clashes(field.type):
            return (
                f"column '{field.name}' has '{other}' and '{one}', which differ by case only, "
                "expected names that differ"
            )
    return None


def _clashes(kind: pa.DataType) -> Iterator[tuple[str, str]]:
    """Pairs of equal names but for case among the fields of a struct, at any depth."""
    names: dict[str, str] = {}
    for field in map(kind.field, range(kind.num_fields)):
        if pa.types.is_struct(kind):
            if field.name.casefold() in names:
                yield field.name, names[field.name.casefold()]
            names[field.name.casefold()] = field.name
        yield from _clashes(field.type)
