"""Which file an engine failed on: engines say what was wrong inside it, and not where.

What does not belong here: day files of raw, which ``Planner.bad_days`` looks at.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.files import read_footers
from itememb_dagster.factory.stage import EVERY_FILE
from itememb_dagster.lake import Key
from itememb_dagster.lake.staleness import Planner

#: How an engine's or a reader's own errors begin; ours name their file.
_FOREIGN: Final = re.compile(r": (_?duckdb|pyarrow|pyspark|py4j)\b|: (OSError|ArrowInvalid)")


def named_files(failures: Iterable[str], planner: Planner, keys: Iterable[Key]) -> Iterator[str]:
    """Yield a line for each damaged file that a stage reads which an engine's error ended.

    Args:
        failures: Lines of failed steps, ``<asset>: <message>``.
        planner: Of the lake as it is.
        keys: The stages that were to be made.
    """
    damaged = {line.partition(": ")[0] for line in failures if _FOREIGN.search(line)}
    seen: set[Path | str] = set()
    for key in keys:
        if "/".join(key) in damaged:
            for file, why in _unreadable(planner, key):
                if file not in seen:
                    seen.add(file)
                    yield f"{'/'.join(key)}: {why}"


def _unreadable(planner: Planner, key: Key) -> Iterator[tuple[Path | str, str]]:
    stage, scan = planner.stages[key], planner.scan
    if stage.raw != EVERY_FILE:
        static = [file for name in stage.raw for file in scan.static_files(name)]
        for file, found in read_footers(scan.root, static, deep=True).items():
            if isinstance(found, ItemembError):
                yield file.path, str(found)
    for spec in stage.inputs.values():
        for part in planner.lake.parts(spec.key):
            try:
                with pq.ParquetFile(part) as parquet:
                    for _batch in parquet.iter_batches():
                        pass
            except (OSError, pa.ArrowException) as error:
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                yield part, f"{part}: damaged ({first}); without it itememb run makes it again"
