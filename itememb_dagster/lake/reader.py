"""Tables of the lake as Arrow tables, versions as what they hold; all bytes are checked first.

What does not belong here: engines, Dagster.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.features.attributes.encoder import AttributeEncoder
from itememb_core.features.categories.poincare import PoincareEmbedding
from itememb_core.features.cold.model import FeatureModel
from itememb_core.features.content.encoder import ContentEncoder
from itememb_core.items.drift import DriftReport
from itememb_core.items.index import ItemIndex
from itememb_core.items.model import ItemModel
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.users.model import StoredUserModel
from itememb_dagster.lake.store import Key, Lake

#: The kinds of version, and how each is read back.
LOADERS: dict[type[Any], Callable[[Path], Any]] = {
    kind: kind.load
    for kind in (
        DriftReport,
        ItemIndex,
        ItemModel,
        AttributeEncoder,
        PoincareEmbedding,
        ContentEncoder,
        FeatureModel,
        LinkScorer,
        StoredUserModel,
    )
}


def load_arrow(lake: Lake, key: Key, columns: Sequence[str] | None = None) -> pa.Table:
    """Load a table in its stored row order; one by month has ``month`` and encoded strings.

    Args:
        lake: Where it lies.
        key: Its asset.
        columns: Of a table of one file: those wanted; None: all.

    Raises:
        ItemembError: If the lake does not hold it.
    """
    parts = lake.parts(key)
    if not parts:
        raise ItemembError(f"{'/'.join(key)}: not in lake {lake.root}; itememb run makes it")
    lake.check_files(parts)
    if parts[0] == lake.part(key):
        return pq.read_table(parts[0], columns=columns, partitioning=None)
    return pa.concat_tables(_segment_rows(path) for path in parts).unify_dictionaries()


def _segment_rows(path: Path) -> pa.Table:
    """Read one month, its strings dictionary-encoded: there are few and they repeat."""
    schema = pq.read_schema(path)
    texts = [field.name for field in schema if field.type == pa.string()]
    rows = pq.read_table(path, partitioning=None, read_dictionary=texts)
    name, _, value = path.parent.name.partition("=")
    codes = pa.array(np.zeros(rows.num_rows, np.int32))
    month = pa.DictionaryArray.from_arrays(codes, pa.array([value]))
    return rows.append_column(name, month)
