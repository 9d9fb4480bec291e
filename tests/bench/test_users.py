"""The parts of the users' bench that could be silently wrong."""

import numpy as np
import pandas as pd
import pytest

from itememb_core.users.shards import pack_histories
from tests.bench.users.last_ten import OURS, Queries, by_user, compare, measure, rank_figures
from tests.bench.users.worlds import last_events, settings_with, write_events
from tests.worlds.users import histories, items_of

IDS = [f"nfmcg_{number:02d}" for number in range(15)]


def test_figures_of_ranks_by_hand():
    values = rank_figures(np.array([0.0, 9.0, 10.0, np.inf]))
    assert values[:, 0] == pytest.approx([1, 1 / np.log2(11), 0, 0])
    assert values[:, 1] == pytest.approx([1, 1 / np.log2(11), 1 / np.log2(12), 0])
    assert values[:, 2].tolist() == [1, 1, 0, 0]


def test_last_events_are_each_users_own():
    rows = pd.DataFrame({"user": [1, 1, 1, 2], "item": list("abcd"), "second": [1, 2, 3, 9]})
    assert last_events(rows, 2).tolist() == [False, True, True, True]


def test_each_of_the_last_ten_is_asked_for_given_all_before_it(tmp_path):
    items = items_of(IDS)
    order = np.random.default_rng(0).permutation(15)[:12]
    rows = [(1, hour, IDS[item], "marketplace") for hour, item in enumerate(order)]
    rows += [(2, 0, IDS[3], "marketplace")]  # nothing before its only event
    seen = pack_histories([histories(rows[:2])], items, tmp_path / "seen")
    whole = pack_histories([histories(rows)], items, tmp_path / "whole")
    asked = [(end[0], target[0]) for _, users, end, target in Queries(items, seen, whole).blocks()]
    assert asked == [(place, order[place]) for place in range(2, 12)]

    def knows_all(shard, users, end):  # the next item is the best of all that are not seen
        scores = np.tile(np.float32(1), (len(users), 15))
        scores[:, order[:12]] = 2 - np.arange(12) / 100
        return scores

    assert measure(Queries(items, seen, whole), knows_all).loc[1].tolist() == [1, 1, 1]


def test_the_gap_is_paired_over_users():
    ours = by_user(np.arange(200), np.tile([0.5, 0.5, 1.0], (200, 1)))
    noise = np.random.default_rng(0).random((200, 1))
    both = {OURS: ours + noise, "other": ours + noise - 0.01}
    (line,) = [line for line in compare(both).splitlines() if line.startswith("other")]
    assert line.endswith("+0.0100 [+0.0100, +0.0100]")


def test_raw_of_events(tmp_path):
    second = 872_000_000  # 1997-08-19 14:13:20
    rows = pd.DataFrame(
        {"user": [5, 5], "item": ["nfmcg_1", "nfmcg_2"], "second": [second, second]}
    )
    write_events(tmp_path, rows)
    table = pd.read_parquet(tmp_path / "marketplace/events/00230.pq")
    assert (pd.Timestamp("1997-01-01") + table["timestamp"]).tolist() == [
        pd.Timestamp("1997-08-19 14:13:20")
    ] * 2
    assert table["item_id"].tolist() == ["nfmcg_1", "nfmcg_2"]


def test_settings_by_name():
    found = settings_with({"seed": 3, "user_model.dim": 32})
    assert (found.seed, found.user_model.dim, found.holdout_days) == (3, 32, 28)
