"""What rows bring to an encoder: words in one spelling, vectors that can be used, blocks of rows.

What does not belong here: what an encoder makes of them.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: Rows that an encoder transforms at once.
BLOCK: Final = 32_768
#: Between the parts of a category's name, which no category holds.
SEPARATOR: Final = "\x1f"
#: A vector's norm up to which it has no direction: what rounding leaves of a unit vector.
NO_NORM: Final = 1e-5


def spelled(text: str) -> str:
    """The one spelling of a text: NFKC, case folded, blanks collapsed and stripped.

    It is a fixed point: spelling it again changes nothing.
    """
    if text.isascii():
        folded = text.lower()
    else:
        # Folding can undo NFKC and the other way round (Unicode, section 3.13: NFKC_Casefold).
        once = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
        folded = unicodedata.normalize("NFKC", once.casefold())
    return " ".join(folded.replace("\0", " ").split())


def spelled_codes(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct spelled texts, strings, and the number of each text in them, int32 [texts].

    The number is -1 where a text is null or nothing but blanks.
    """
    coded = texts.cast(pa.string()).dictionary_encode()
    words = [(spelled(word) or None) if word else None for word in coded.dictionary.to_pylist()]
    spelt = pa.array([*words, None], pa.string()).dictionary_encode()
    numbers = pc.fill_null(spelt.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    codes = pc.fill_null(coded.indices, len(words)).to_numpy(zero_copy_only=False)
    return spelt.dictionary, numbers[codes]


def blocks(table: pa.Table, size: int = BLOCK) -> Iterator[tuple[int, pa.Table]]:
    """The table's rows, ``size`` at a time, each with the number of its first row."""
    for first in range(0, table.num_rows, size):
        yield first, table.slice(first, size)


def sample(rows: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """At most ``size`` of the rows, drawn evenly, ascending."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def parts_of(
    table: pa.Table, rows: NDArray[np.int64], size: int = BLOCK
) -> Iterator[tuple[int, pa.Table]]:
    """Some rows of a table, ascending, as parts of its blocks, each with how many came by then.

    Blocks are cut first: taking rows of a whole table would copy its chunks together each time.
    """
    ends = np.searchsorted(rows, np.arange(0, table.num_rows + size, size))
    for number, (first, block) in enumerate(blocks(table, size)):
        own = rows[ends[number] : ends[number + 1]] - first
        if len(own):
            part = block if len(own) == len(block) else block.take(pa.array(own))
            yield int(ends[number + 1]), part


def column(block: pa.Table, name: str) -> pa.Array:
    """A column as one array; nulls where the table has no such column."""
    if name not in block.column_names:
        return pa.nulls(block.num_rows)
    made = block.column(name).combine_chunks()
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


@dataclass(frozen=True)
class Vectors:
    """The vectors of one width in a column.

    Attributes:
        width: Their width.
        rows: Rows of the usable ones, int64 [n], ascending.
        unit: They, at unit norm, float32 [n, width].
        bad: How many are not finite or have no direction.
    """

    width: int
    rows: NDArray[np.int64]
    unit: NDArray[np.float32]
    bad: int


def vectors_by_width(lists: pa.Array) -> list[Vectors]:
    """The vectors of a column of lists, by width; nulls and empty lists are no vectors."""
    if pa.types.is_null(lists.type):
        return []
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    found = []
    for width in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == width)
        flat = pc.list_flatten(lists.take(pa.array(rows))).cast(pa.float32())
        values = flat.to_numpy(zero_copy_only=False).reshape(-1, width)  # [rows, width], null: NaN
        # float32 squares overflow from 2e19 on, and vanish below 1e-23.
        norms = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
        good = np.isfinite(norms) & (norms > 0)
        unit = (values[good] / norms[good, None]).astype(np.float32)
        found.append(Vectors(int(width), rows[good], unit, int((~good).sum())))
    return found
