"""Files of a stored model, read so that a missing or damaged one is an error that names it.

What belongs here: what every model's ``load`` shares. What does not: what a file means.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from itememb_core.errors import ItemembError


def existing(path: Path, model: str) -> Path:
    """The path of a file that is there.

    Args:
        path: The file.
        model: The model's name, for the message.

    Raises:
        ItemembError: It is missing.
    """
    if not path.is_file():
        raise ItemembError(f"{model}: {path} is missing")
    return path


def read_json(path: Path, model: str) -> dict[str, JsonValue]:
    """The facts of a JSON file.

    Raises:
        ItemembError: It is missing, or no JSON object.
    """
    text = existing(path, model).read_text()
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise ItemembError(f"{model}: {path} cannot be read ({error})") from error
    if not isinstance(facts, dict):
        raise ItemembError(f"{model}: {path} holds {type(facts).__name__}, expected an object")
    return facts


def read_parquet(path: Path, model: str, schema: pa.Schema | None = None) -> pa.Table:
    """The table of a Parquet file.

    Args:
        path: The file.
        model: The model's name, for the message.
        schema: Columns that it must have, exactly; None takes what there is.

    Raises:
        ItemembError: It is missing, damaged, or has other columns.
    """
    try:
        table = pq.read_table(existing(path, model))
    except (OSError, pa.ArrowException) as error:
        raise ItemembError(f"{model}: {path} cannot be read ({error})") from error
    if schema is not None and not table.schema.equals(schema):
        found, wanted = (
            ", ".join(f"{field.name} {field.type}" for field in each)
            for each in (table.schema, schema)
        )
        raise ItemembError(f"{model}: {path} has columns {found}, expected {wanted}")
    return table


def read_tensors(path: Path, model: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Args:
        path: The file.
        model: The model's name, for the message.
        names: Arrays that it must have, each of float32.

    Raises:
        ItemembError: It is missing or damaged, or lacks an array.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(existing(path, model))
    except (OSError, SafetensorError, ValueError) as error:
        raise ItemembError(f"{model}: {path} cannot be read ({error})") from error
    for name in names:
        if name not in arrays or arrays[name].dtype != np.float32:
            found = arrays[name].dtype if name in arrays else "nothing of that name"
            raise ItemembError(f"{model}: {path} has {found} as {name}, expected float32")
    return arrays
