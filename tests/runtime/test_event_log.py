"""The batched event log stores what Dagster's own SQLite log stores."""

import importlib.util
import re
import sqlite3
from pathlib import Path

import dagster
import dagster as dg
import pytest
import yaml

from itememb_dagster.automation.jobs import range_tags
from itememb_dagster.runtime import event_log
from itememb_dagster.runtime.event_log import STEP_MODULE, TRIED
from itememb_dagster.runtime.home import INSTANCE

DAYS = dg.DailyPartitionsDefinition("2017-01-01", end_date="2017-01-06")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def daily(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"rows": int(key[-2:])}, partition_key=key)


@dg.asset_check(asset=daily)
def passes() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def row_of(instance: dg.DagsterInstance) -> tuple[str, bool]:
    """The last day and whether the last run are in the asset's row."""
    (record,) = instance.get_asset_records([daily.key])
    entry = record.asset_entry
    last = entry.last_materialization_record.event_log_entry.dagster_event.partition
    return last, entry.last_run_id == instance.get_runs()[0].run_id


def tags_of(home: Path) -> list[tuple]:
    """Tags by which the UI finds an asset's events."""
    (index,) = home.rglob("index.db")
    with sqlite3.connect(index) as con:
        query = "select asset_key, key, count(*) from asset_event_tags group by 1, 2 order by 1, 2"
        return con.execute(query).fetchall()


def run(home: Path, config: str, monkeypatch: pytest.MonkeyPatch, batch: int) -> dict:
    home.mkdir()
    (home / "dagster.yaml").write_text(config)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch))
    job = dg.Definitions(
        assets=[daily], asset_checks=[passes], jobs=[dg.define_asset_job("days")]
    ).resolve_job_def("days")
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            tags=range_tags("2017-01-01", "2017-01-05"), instance=instance
        )
        records = instance.fetch_materializations(daily.key, limit=100).records
        logs = instance.all_logs(result.run_id)
        return {
            "class": type(instance.event_log_storage).__name__,
            "days": sorted(r.partition_key for r in records),
            "rows": sorted(r.asset_materialization.metadata["rows"].value for r in records),
            "partitions": sorted(instance.get_materialized_partitions(daily.key)),
            "events": sorted(e.dagster_event_type.value for e in logs if e.is_dagster_event),
            "known": instance.has_asset_key(daily.key),
            "row": row_of(instance),
            "tags": tags_of(home),
        }


def test_batches_store_what_single_events_store(tmp_path, monkeypatch):
    stock = run(tmp_path / "stock", "telemetry:\n  enabled: false\n", monkeypatch, 0)
    batched = run(tmp_path / "batched", INSTANCE, monkeypatch, 500)
    assert (stock.pop("class"), batched.pop("class")) == (
        "SqliteEventLogStorage",
        "BatchedSqliteEventLogStorage",
    )
    assert batched == stock
    assert batched["rows"] == [1, 2, 3, 4, 5]
    assert batched["row"] == ("2017-01-05", True)
    assert batched["tags"]


def test_a_wiped_log_begins_anew_and_the_stock_log_goes_on_with_it(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text(INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    job = dg.Definitions(assets=[daily], jobs=[dg.define_asset_job("days")]).resolve_job_def("days")
    with dg.DagsterInstance.get() as instance:
        days = range_tags("2017-01-01", "2017-01-02")
        before = job.execute_in_process(tags=days, instance=instance)
        assert instance.has_asset_key(daily.key)
        first = instance.all_logs(before.run_id)[0]
        instance.event_log_storage.wipe()
        assert instance.all_logs(before.run_id) == []
        assert not instance.has_asset_key(daily.key)
        for _ in range(2):  # the first makes the run's database, the second finds it open
            instance.event_log_storage.store_event(first)
        job.execute_in_process(tags=days, instance=instance)
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.get() as instance:  # what was written lies where the stock log looks
        assert type(instance.event_log_storage).__name__ == "SqliteEventLogStorage"
        assert instance.all_logs(before.run_id) == [first, first]
        assert instance.has_asset_key(daily.key)


def test_the_instance_turns_telemetry_off():
    assert yaml.safe_load(INSTANCE)["telemetry"] == {"enabled": False}


def test_what_is_private_of_dagster_was_tried_with_the_installed_version():
    """With another version: read what is private in ``event_log``, run these tests, note it."""
    assert dagster.__version__ == TRIED == "1.13.27"
    assert importlib.util.find_spec(STEP_MODULE) is not None
    source = Path(event_log.__file__)
    others = [
        path
        for path in source.parent.parent.glob("**/*.py")
        if path != source and re.search(r"dagster\._|dagster_shared", path.read_text())
    ]
    assert others == []
