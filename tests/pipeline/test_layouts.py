"""The whole graph on the notebook and the Ozon layout, from the command's own door."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from itememb_dagster.assets import STAGES
from itememb_dagster.cli import cli
from itememb_dagster.lake import Lake
from itememb_dagster.lake.counts import unknown_counts
from tests.conftest import TINY_OPTIONS, run, table
from tests.worlds.layouts import put, tracked, write_notebook_world, write_ozon_world


def itememb_run(raw: Path, lake: Path) -> Result:
    words = ["run", "--raw", str(raw), "--lake", str(lake), *TINY_OPTIONS]
    return CliRunner().invoke(cli, words)


def check_lake(lake: Path) -> pd.DataFrame:
    """Every asset is there, rows are conserved, vectors have unit norm; returns the inventory."""
    for stage in STAGES:
        assert lake.joinpath(*stage.key).exists(), stage.name
    inventory = table(lake, "raw_inventory")
    assert (inventory.rows == inventory.clean + inventory.rejected).all()
    vectors = np.stack(table(lake, "item_embeddings").embedding)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert len(table(lake, "user_embeddings")) > 0
    return inventory


def test_unknown_actions_are_told_of_their_day(tmp_path):
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    seen = ["page_view", "Teleport", "teleport", None]
    put(raw, "tracker/a.parquet", [
        *(tracked(k, action_type=action) for k, action in enumerate(seen)),
        tracked(day=2),
    ])  # fmt: skip
    assert run(raw, lake, select='key:"marketplace_events"').errors == []
    words = {"action teleport": 2, "action unknown": 1}
    assert unknown_counts(Lake(lake), ("marketplace_events",)) == words
    with dg.DagsterInstance.get() as instance:
        records = instance.fetch_materializations(
            dg.AssetKey("marketplace_events"), limit=9
        ).records
    facts = {record.partition_key: record.asset_materialization.metadata for record in records}
    assert facts["2025-03-01"]["unknown action teleport"].value == 2
    assert not [name for name in facts["2025-03-03"] if name.startswith("unknown")]


@pytest.mark.slow
def test_the_notebook_layout_runs_end_to_end(tmp_path):
    raw, lake = write_notebook_world(tmp_path / "raw", days=21, users=60), tmp_path / "lake"
    assert itememb_run(raw, lake).exit_code == 0
    inventory = check_lake(lake)
    assert inventory.layout.unique() == ["notebook"]
    assert len(table(lake, "receipts")) > 1000
    assert table(lake, "recommendations").item_id.str.startswith(("fmcg_", "nfmcg_")).all()
    assert (table(lake, "cross_domain_links").method == "direct").any()


@pytest.mark.slow
def test_the_ozon_layout_runs_end_to_end(tmp_path):
    raw, lake = write_ozon_world(tmp_path / "raw"), tmp_path / "lake"
    assert itememb_run(raw, lake).exit_code == 0
    inventory = check_lake(lake)
    assert inventory.layout.unique() == ["ozon"]
    events = table(lake, "marketplace_events")
    assert len(events) == inventory[inventory.channel == "marketplace"].clean.sum() > 5000
    assert set(events[events.action == "order"].status) == {"delivered", "canceled", "processed"}
    assert (events[events.status == "canceled"].strength == 0).all()
    catalog = table(lake, "catalog")
    assert (catalog.category == "clothes").all()
    found = table(lake, "recommendations")
    assert found.item_id.str.startswith("nfmcg_").all()
    assert len(table(lake, "similar_items")) > 0
