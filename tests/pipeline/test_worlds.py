"""The whole graph on worlds that lack something: what is made, what is said."""

import shutil
from datetime import date

import pandas as pd
import pyarrow.parquet as pq
import pytest

from itememb_core.settings import SequenceSettings
from tests.conftest import TINY_SETTINGS, run, table


@pytest.mark.slow
def test_one_channel_alone_ends_well_and_says_what_had_nothing_to_do(tiny_raw, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(tiny_raw / "retail", raw / "retail")
    outcome = run(raw, tmp_path / "lake")
    assert outcome.errors == []
    assert any("no " in why for why in outcome.reasons.values()), outcome.reasons
    assert len(table(tmp_path / "lake", "cross_domain_links")) == 0
    assert len(table(tmp_path / "lake", "item_embeddings")) > 0


@pytest.mark.slow
def test_everything_after_the_cut_and_no_catalog_ends_well(tiny_raw, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(tiny_raw, raw)
    for path in raw.glob("*/items.pq"):
        path.unlink()
    long = TINY_SETTINGS.model_copy(update={"holdout_days": 28})
    outcome = run(raw, tmp_path / "lake", settings=long)
    assert outcome.errors == []
    assert len(table(tmp_path / "lake", "backtest/vocabulary")) == 0
    assert len(table(tmp_path / "lake", "item_embeddings")) > 0


@pytest.mark.slow
def test_stages_see_the_days_that_every_daily_table_holds(tiny_raw, tmp_path):
    lake = tmp_path / "lake"
    run(tiny_raw, lake, end=date(2017, 1, 8), select='key:"receipts"')
    found = run(tiny_raw, lake, end=date(2017, 1, 4))
    assert found.errors == []
    assert len(list((lake / "receipts").iterdir())) == 8
    assert table(lake, "user_histories").timestamp.max() < pd.Timestamp("2017-01-05")


@pytest.mark.slow
def test_with_a_budget_a_sequence_model_is_searched_for_fitted_and_shipped(tiny_raw, tmp_path):
    lake = tmp_path / "lake"
    user = TINY_SETTINGS.user_model.model_copy(update={"budget_minutes": 0.03})
    sequence = SequenceSettings(dim=16, batch_events=256, negatives=64)
    settings = TINY_SETTINGS.model_copy(update={"user_model": user, "sequence_model": sequence})
    outcome = run(tiny_raw, lake, settings=settings)
    assert outcome.errors == []
    strategies = table(lake, "target_strategies")
    assert strategies.chosen.sum() == 1
    assert (strategies["round"] == 0).sum() >= 2
    assert "sequence" in set(table(lake, "user_evaluation").method)
    assert len(table(lake, "recommendations")) > 0
    assert run(tiny_raw, lake, settings=settings).tables == 0


def test_a_bad_day_is_named_and_the_good_ones_are_kept(tiny_raw, tmp_path):
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    shutil.copytree(tiny_raw, raw)
    path = raw / "retail/events/00002.pq"
    path.write_bytes(path.read_bytes()[:500])
    wrong = raw / "payments/receipts/00001.pq"
    pq.write_table(pq.read_table(wrong).drop_columns(["user_id"]), wrong)
    outcome = run(raw, lake, end=date(2017, 1, 5))
    assert len(outcome.errors) == 2
    assert "retail/events/00002.pq" in outcome.errors[1]
    assert "user_id" in outcome.errors[0]
    assert sorted(p.name for p in (lake / "retail_events").iterdir()) == [
        "day=2017-01-01", "day=2017-01-04", "day=2017-01-05",
    ]  # fmt: skip
