"""Every column says what it means, and no file, stamp or comparison changes by it."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import schemas
from itememb_dagster.assets import STAGES
from itememb_dagster.factory.asset import column_schema
from itememb_dagster.lake.writer import StampedFile


def public() -> Iterator[tuple[str, pa.Schema]]:
    """Every schema of the package by name; those of vectors with some width."""
    for name, value in vars(schemas).items():
        if isinstance(value, pa.Schema):
            yield name, value
    yield "item_embeddings", schemas.item_embeddings(3)
    yield "user_embeddings", schemas.user_embeddings(3)


SCHEMAS = dict(public())
each = pytest.mark.parametrize("name", SCHEMAS)


@each
def test_every_column_has_a_meaning_and_numbers_have_a_unit(name):
    columns = schemas.describe(SCHEMAS[name])
    assert [(c.name, c.type) for c in columns] == [(f.name, f.type) for f in SCHEMAS[name]]
    for column in columns:
        assert len(column.meaning) > 5, column.name
        assert column.meaning.endswith("."), column.name
        counted = pa.types.is_floating(column.type) or pa.types.is_temporal(column.type)
        assert column.unit or not counted, column.name


@each
def test_a_schema_holds_names_and_types_alone(name):
    schema = SCHEMAS[name]
    assert schema.metadata is None
    assert [field.metadata for field in schema] == [None] * len(schema)


def test_a_written_file_knows_nothing_of_meanings(tmp_path):
    plain = pa.schema([(field.name, field.type) for field in schemas.LINK_POOL])
    rows = pa.Table.from_pylist([{"receipt_item": "a", "catalog_item": "b"}], schema=plain)
    for name, schema in {"ours": schemas.LINK_POOL, "plain": plain}.items():
        file = StampedFile(tmp_path / name, schema)
        file.write(rows)
        file.close(None)
    written = pq.read_schema(tmp_path / "ours")
    assert [field.metadata for field in written] == [None] * len(written)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "plain").read_bytes()


def test_another_table_is_not_described():
    assert schemas.describe(pa.schema([("item_id", pa.string()), ("what", pa.int8())])) == ()


def test_the_ui_shows_what_every_column_means():
    tables = [stage for stage in STAGES if stage.table and stage.table.schema]
    assert len(tables) > 20
    for stage in tables:
        shown = column_schema(stage.table.schema).columns
        assert [column.name for column in shown] == stage.table.schema.names
        assert all(column.description for column in shown), stage.name
    (weight,) = (c for c in column_schema(schemas.EDGES).columns if c.name == "weight")
    assert "[fixed point, 1 is 2^20]" in weight.description
