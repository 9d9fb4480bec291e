"""What the backtest may not see, the final features must."""

from datetime import date

import ibis
import numpy as np
import pyarrow as pa
import pytest

from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.progress import silent
from itememb_core.settings import DomainSettings, Settings
from itememb_dagster.assets.features import backtest_popularity_features, popularity_features
from itememb_dagster.factory.stage import StageContext

DAYS = (date(2017, 1, 1), date(2017, 1, 2), date(2017, 1, 3))
ROWS = pa.table({
    "day": DAYS, "user_id": [1, 1, 1], "item_id": ["fmcg_a"] * 3, "channel": ["retail"] * 3,
    "n": [1, 2, 4],
})  # fmt: skip
CATALOG = pa.table({"item_id": ["fmcg_a"], "group_id": pa.nulls(1, pa.string())})


@pytest.mark.parametrize(
    ("stage", "n"), [(backtest_popularity_features, 3), (popularity_features, 7)]
)
def test_popularity_counts_the_days_after_the_cut_in_the_final_table_alone(stage, n):
    counts = ROWS.select(["item_id", "channel", "n"])
    none = pa.array([], pa.string())
    vocabulary = build_vocabulary(counts, none, none, DomainSettings())
    ctx = StageContext(Settings(), DAYS, DAYS[2], None, None, None, silent)
    table = stage.compute(ctx, vocabulary, ibis.memtable(ROWS), ibis.memtable(CATALOG))
    assert table["log_count"].to_pylist() == pytest.approx([np.log1p(n)] * 2)
