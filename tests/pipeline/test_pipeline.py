"""The whole graph on the tiny world: what comes out, what is redone, what is refused."""

import hashlib
import shutil
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from itememb_core.settings import ItemEvaluationSettings
from itememb_dagster.assets import STAGES
from itememb_dagster.cli import cli
from itememb_dagster.lake import Lake
from tests.conftest import TINY_SETTINGS, run, table

HOLDOUT_CUT = pd.Timestamp("2017-01-22")


def tree(lake: Path) -> dict[str, str]:
    files = sorted(p for p in lake.rglob("*") if p.is_file())
    return {str(p.relative_to(lake)): hashlib.blake2b(p.read_bytes()).hexdigest() for p in files}


def test_everything_is_made_and_no_check_fails(made):
    lake, outcome = made
    assert outcome.errors == []
    for stage in STAGES:
        assert (lake.joinpath(*stage.key)).exists(), stage.name
    names = {p.name for p in lake.rglob("*")}
    assert not [
        n
        for n in names
        if n.startswith("_") and n not in ("_versions", "_checks", "_stamps", "_lock")
    ]


def test_rows_are_conserved(made, tiny_world):
    lake, _ = made
    inventory = table(lake, "raw_inventory")
    assert (inventory.rows == inventory.clean + inventory.rejected).all()
    daily = inventory[inventory.day.notna()]
    assert daily.set_index("file").rows.to_dict() == tiny_world.rows
    channels = ("receipts", "retail_events", "marketplace_events", "offers_events")
    assert sum(len(table(lake, name)) for name in channels) == daily.clean.sum()
    assert sorted(inventory[inventory.day.isna()].file) == [
        "brands.pq", "marketplace/items.pq", "offers/items.pq", "retail/items.pq", "users.pq",
    ]  # fmt: skip
    assert len(table(lake, "users")) == tiny_world.users


def test_the_midnight_session_is_one_and_closes_on_the_second_day(made, tiny_world):
    lake, _ = made
    _user, day, items = tiny_world.midnight
    edges = table(lake, "coview_edges")
    close = str(date(2017, 1, 1) + pd.Timedelta(days=day + 1))
    found = edges[(edges.day.astype(str) == close) & edges.item_a.isin(items)]
    pairs = set(zip(found.item_a, found.item_b, strict=True))
    assert {tuple(sorted((items[0], items[-1])))} <= pairs


def test_the_backtest_sees_nothing_after_the_cut(made):
    lake, _ = made
    days = pd.to_datetime(table(lake, "user_items").day.astype(str))
    items = table(lake, "user_items")[days < HOLDOUT_CUT]
    vocabulary = table(lake, "backtest/vocabulary")
    counts = [c for c in vocabulary if c.startswith("count_")]
    assert vocabulary[counts].to_numpy().sum() == items.n.sum()
    edges, both = table(lake, "backtest/edges"), ["copurchase_edges", "coview_edges"]
    daily = pd.concat([table(lake, name) for name in both])
    before = daily[pd.to_datetime(daily.day.astype(str)) < HOLDOUT_CUT]
    assert edges.n.sum() == before.n.sum()
    assert table(lake, "edges").n.sum() == daily.n.sum()


def test_histories_hold_every_event_and_the_backtest_only_those_before_the_cut(made):
    lake, _ = made
    names = ("receipts", "retail_events", "marketplace_events", "offers_events")
    events = pd.concat([table(lake, name)[["user_id", "timestamp", "item_id"]] for name in names])
    whole, before = table(lake, "user_histories"), table(lake, "backtest/user_histories")
    assert len(whole) == len(events)
    assert set(whole.shard) == {0, 1}
    early = events[events.timestamp < HOLDOUT_CUT]
    columns = ["user_id", "timestamp", "item_id"]
    pd.testing.assert_frame_equal(
        before[columns].sort_values(columns, ignore_index=True),
        early.sort_values(columns, ignore_index=True),
    )
    assert (before.groupby("user_id").position.max() + 1 == before.groupby("user_id").size()).all()


def test_users_have_vectors_and_recommendations_of_catalog_items(made):
    lake, _ = made
    users = set(table(lake, "user_histories").user_id)
    assert sorted(table(lake, "user_embeddings").user_id) == sorted(users)
    found = table(lake, "recommendations")
    assert set(found.user_id) == users
    assert found.item_id.str.startswith(("fmcg_", "nfmcg_", "offer_")).all()
    ranks = found.groupby("user_id")["rank"].agg(["min", "max", "size"])
    assert (ranks["min"] == 1).all()
    assert (ranks["max"] == ranks["size"]).all()
    slices = set(table(lake, "user_evaluation")["slice"])
    assert {"all_repeats", "all_new", "next_repeats", "next_new"} <= slices


def test_held_out_matches_are_two_nodes_and_final_ones_one(made, tiny_world):
    lake, _ = made
    held = set(table(lake, "link_holdout").item_id)
    assert held
    assert held <= set(tiny_world.direct)
    backtest = table(lake, "backtest/vocabulary")
    apart = backtest[backtest.side == "receipts"]
    assert set(apart.item_id) <= held
    assert len(apart) > 0
    shared = backtest[(backtest.side == "all") & backtest.item_id.isin(held)]
    assert shared.count_receipts.sum() == 0
    final = table(lake, "vocabulary")
    assert final.item_id.is_unique
    assert (final.side == "all").all()


def test_bridge_pairs_join_two_channels_and_edges_are_canonical(made):
    lake, _ = made
    bridge, edges = table(lake, "bridge_edges"), table(lake, "edges")
    assert (bridge.channel_a != bridge.channel_b).all()
    assert (edges.item_a < edges.item_b).all()
    assert not edges.duplicated(["month", "channel", "item_a", "item_b"]).any()


def test_links_are_far_better_than_chance_and_need_the_bridge(made, tmp_path, tiny_world):
    lake, _ = made

    def hits(where: Path) -> float:
        first = table(where, "link_candidates").query("rank == 1")
        truth = pd.Series(dict(tiny_world.truth))
        right = truth.reindex(first.receipt_item).to_numpy()
        known = pd.notna(right)
        return (right == first.catalog_item.to_numpy())[known].mean()

    shutil.copytree(lake, tmp_path / "lake")
    settings = TINY_SETTINGS.model_copy(
        update={"item_model": TINY_SETTINGS.item_model.model_copy(update={"bridge": False})}
    )
    select = '+key:"cross_domain_links"'
    outcome = run(tiny_world.raw, tmp_path / "lake", settings=settings, select=select)
    assert outcome.errors == []
    assert hits(lake) > 0.2
    assert hits(tmp_path / "lake") < hits(lake) / 4
    assert set(table(tmp_path / "lake", "cross_domain_links").method) == {"direct"}
    assert "bridge is off" in outcome.reasons["link_scorer"]


def test_direct_links_are_known_ids(made, tiny_world):
    lake, _ = made
    links = table(lake, "cross_domain_links")
    direct = links[links.method == "direct"]
    assert set(direct.receipt_item) == set(tiny_world.direct)
    assert (direct.receipt_item == direct.catalog_item).all()
    assert not links.receipt_item.duplicated().any()


def test_a_second_run_makes_nothing(made, tiny_raw, tmp_path):
    lake, _ = made
    shutil.copytree(lake, tmp_path / "lake")
    before = tree(tmp_path / "lake")
    again = run(tiny_raw, tmp_path / "lake")
    assert (again.asset_days, again.tables, again.errors) == (0, 0, [])
    assert tree(tmp_path / "lake") == before


@pytest.mark.slow
def test_force_makes_the_same_bytes(made, tiny_raw, tmp_path):
    lake, _ = made
    shutil.copytree(lake, tmp_path / "lake")
    before = tree(tmp_path / "lake")
    forced = run(tiny_raw, tmp_path / "lake", force=True)
    assert forced.errors == []
    assert forced.tables == sum(not s.daily for s in STAGES)
    changed = {k for k, v in tree(tmp_path / "lake").items() if before.get(k) != v}
    assert changed == set()


def test_a_run_on_an_older_lake_says_that_all_is_made_again(tiny_raw, tmp_path):
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "lake.json").write_text('{"epoch": "2017-01-01"}\n')
    only = {"select": 'key:"users"', "end": date(2017, 1, 2)}
    for _ in range(2):  # a run of some assets leaves what the others were
        (warning,) = run(tiny_raw, lake, **only).warnings
        assert "written in format 1, now 3" in warning


def test_what_was_trained_records_its_libraries_and_threads_and_is_not_stale_by_them(made):
    lake, _ = made
    stamp = Lake(lake).stamp(("item_model",))
    assert stamp.counts["libraries"]["torch"] == version("torch")
    assert stamp.counts["threads"] >= 1
    assert replace(stamp, counts={}).recipe == stamp.recipe


def test_two_lakes_under_one_home_do_not_mix(made, tiny_raw, tmp_path):
    lake, _ = made
    before = tree(lake)
    other = run(tiny_raw, tmp_path / "other", end=date(2017, 1, 5), select='key:"receipts"')
    assert (other.asset_days, other.errors) == (5, [])
    assert sorted(p.name for p in (tmp_path / "other/receipts").iterdir()) == [
        f"day=2017-01-0{d}" for d in range(1, 6)
    ]
    assert run(tiny_raw, lake).asset_days == 0
    assert tree(lake) == before


BAD_COMMANDS = {
    "missing raw": (["run", "--raw", "nowhere", "--lake", "l"], "nowhere"),
    "date": (["run", "--raw", "{raw}", "--lake", "l", "--start", "2017-13-01"], "2017-13-01"),
    "range": (["run", "--raw", "{raw}", "--lake", "l", "--start", "2031-01-01"], "2031-01-01"),
    "unknown setting": (["run", "--raw", "{raw}", "--lake", "l", "--set", "x.y=1"], "x"),
    "out of range": (
        ["run", "--raw", "{raw}", "--lake", "l", "--set", "item_model.dim=0"], "item_model.dim",
    ),
    "engine": (["run", "--raw", "{raw}", "--lake", "l", "--engine", "hive"], "hive"),
    "no such asset": (
        ["run", "--raw", "{raw}", "--lake", "l", "--select", 'key:"edgs"'], "edgs",
    ),
    "days turned round": (
        ["run", "--raw", "{raw}", "--lake", "l", "--start", "2017-01-05", "--end", "2017-01-02"],
        "2017-01-05 --end 2017-01-02: the first day is after the last",
    ),
    "close setting": (
        ["run", "--raw", "{raw}", "--lake", "l", "--set", "item_model.dims=8"], "item_model.dim,",
    ),
    "selection": (["run", "--raw", "{raw}", "--lake", "l", "--select", "((("], "((("),
    "lake is a file": (["run", "--raw", "{raw}", "--lake", "{file}"], "found a file"),
    "unknown item": (["similar", "no_such_item", "--lake", "{lake}"], "no_such_item"),
    "unknown user": (["recommend", "999999", "--lake", "{lake}"], "999999"),
    "unknown link": (["links", "no_such_item", "--lake", "{lake}"], "no_such_item"),
    "no lake": (["similar", "x", "--lake", "nowhere"], "nowhere"),
    "demo option": (["demo", "d", "--direct", "7"], "direct"),
}  # fmt: skip
#: Values that no raw folder or lake could make right.
WRONG_USE = (
    "date", "range", "unknown setting", "out of range", "engine", "no such asset",
    "days turned round", "close setting", "selection", "demo option",
)  # fmt: skip


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_bad_input_is_one_line_that_names_it(case, made, tiny_raw, tmp_path, monkeypatch, capsys):
    from itememb_dagster.cli import main

    words, named = BAD_COMMANDS[case]
    file = tmp_path / "file"
    file.write_text("")
    values = {"raw": tiny_raw, "lake": made[0], "file": file}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["itememb", *(w.format(**values) for w in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert ended.value.code == (2 if case in WRONG_USE else 1)
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in shown.err


def test_look_ups_and_export_answer(made, tmp_path, monkeypatch):
    lake, _ = made
    monkeypatch.chdir(tmp_path)
    links = table(lake, "link_candidates")
    item = links.catalog_item.iloc[0]
    user = str(table(lake, "user_embeddings").user_id.iloc[0])
    for words in (["similar", item], ["similar", item, "--goes-with"], ["links", item],
                  ["recommend", user, "-k", "3"]):  # fmt: skip
        result = CliRunner().invoke(cli, [*words, "--lake", str(lake)], catch_exceptions=False)
        assert result.exit_code == 0
    receipt = links.receipt_item.iloc[0]
    result = CliRunner().invoke(cli, ["links", receipt, "--lake", str(lake)])
    assert f"{receipt} → {item}: " in result.output
    result = CliRunner().invoke(cli, ["export", "out", "--lake", str(lake)])
    assert result.exit_code == 0
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "best_model.safetensors", "cross_domain_links.parquet", "item_embeddings.parquet",
        "item_vocabulary.parquet", "training_history.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_fit_without_the_bridge_is_compared_where_that_is_set(made, tiny_raw, tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(made[0], lake)
    wanted = TINY_SETTINGS.model_copy(
        update={"item_evaluation": ItemEvaluationSettings(without_bridge=True)}
    )
    assert run(tiny_raw, lake, settings=wanted, select='key:"item_evaluation"').errors == []
    before, after = (table(root, "item_evaluation") for root in (made[0], lake))
    added = after[after.method == "without_bridge"]
    assert set(added["slice"]) >= {"all", "receipts", "retail", "tail"}
    assert (added.value > 0).any()
    mine = (before.method == "goes_with") & (before["slice"] == "all")
    assert mine.sum() == 3
    assert "without_bridge" not in set(before.method)
    probed = {"nearest_10", "majority", "random", "history_mean", "ppmi_svd", "blend"}
    assert probed <= set(before.method)
