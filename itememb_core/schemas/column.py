"""What a column is: name, type, meaning and unit, said once for files, the UI and the docs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

TEXT: Final = pa.string()
INT32: Final = pa.int32()
INT64: Final = pa.int64()
FLOAT32: Final = pa.float32()
FLOAT64: Final = pa.float64()
BOOL: Final = pa.bool_()
DATE: Final = pa.date32()
#: UTC without zone.
TIME: Final = pa.timestamp("us")
#: A vector whose width is that of the raw files.
VECTOR: Final = pa.list_(pa.float32())


@dataclass(frozen=True)
class Column:
    """A column of a table in the lake.

    Attributes:
        name: Its name.
        type: Its Arrow type.
        meaning: What a value says, and what null means where there may be one.
        unit: What numbers and times are counted in, or their range; empty for ids and words.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""

    @property
    def description(self) -> str:
        """Meaning and unit in one line, as the UI shows them."""
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of files: names and types alone, so that wording changes no byte of them."""
    return pa.schema([(column.name, column.type) for column in columns])
