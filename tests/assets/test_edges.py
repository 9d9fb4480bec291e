"""The bridge's table is made where it is wanted; else it is empty and says so."""

import pyarrow.parquet as pq

from itememb_core.schemas import BRIDGE_EDGES
from itememb_core.settings import Settings
from itememb_dagster.lake import Lake
from tests.worlds.two_months import HOLDOUT, make

KEY = ("bridge_edges",)


def test_bridge_edges_that_nobody_wants_are_an_empty_table(copies):
    raw, root = copies
    lake = Lake(root)
    assert pq.read_table(lake.part(KEY)).num_rows > 0
    outcome = make(raw, root, (HOLDOUT,))
    assert outcome.errors == []
    assert (outcome.asset_days, outcome.tables) == (0, 1)
    assert outcome.reasons == {"bridge_edges": "bridge_edges.enabled is off"}
    found = pq.read_table(lake.part(KEY))
    assert found.num_rows == 0
    assert found.schema.equals(BRIDGE_EDGES)
    verdict = lake.checks(KEY)["bridge_joins_two_channels"]
    assert verdict["passed"]
    assert "bridge_edges.enabled is off" in verdict["why"]


def test_bridge_edges_are_off_by_default():
    assert not Settings().bridge_edges.enabled
