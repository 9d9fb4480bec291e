"""Windows and batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.batches import Drawing, event_arrays, make_batch, plan, windows
from itememb_core.users.sequence.columns import shard_columns
from itememb_core.users.sequence.negatives import All, Uniform
from itememb_core.users.sequence.targets import targets_ahead
from itememb_core.users.shards import pack_shard
from tests.worlds.users import histories, items_of

pytestmark = pytest.mark.slow

IDS = ["fmcg_a", "fmcg_b", "fmcg_c", "x"]
ROWS = [
    (1, 0, "fmcg_a"), (1, 24, "x"), (1, 25, "fmcg_b"), (1, 72, "fmcg_a"),
    (2, 0, "fmcg_b"), (2, 1, "fmcg_b"),
    (3, 0, "fmcg_a"),
]  # fmt: skip


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8), st.integers(2, 12), st.integers(0, 99))
def test_windows_hold_every_event_once_and_are_no_longer_than_they_may(lengths, size, seed):
    start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    table = windows(start, size, np.random.default_rng(seed))
    held = [event for begin, end in table for event in range(begin, end)]
    assert held == list(range(start[-1]))
    assert ((table[:, 1] - table[:, 0]) <= size).all()
    assert (table[:, 1] > table[:, 0]).all()
    users = np.searchsorted(start, table, side="right") - 1
    assert (users[:, 0] == np.searchsorted(start, table[:, 1] - 1, side="right") - 1).all()
    short = [length for length in lengths if 0 < length <= size]
    assert np.isin([0, *np.cumsum(lengths)], [0, *table[:, 1]]).all()
    assert len(table) >= len(short)


def test_cuts_move_from_pass_to_pass():
    start = np.array([0, 50])
    firsts = {windows(start, 10, np.random.default_rng(seed))[0, 1] for seed in range(200)}
    assert firsts == set(range(1, 11))


def made(settings, sources, rows=ROWS):
    items = items_of(IDS)
    columns = shard_columns(pack_shard(histories(rows), items), items.target_of)
    ahead = targets_ahead(columns, settings.target, settings.horizon_days)
    drawing = Drawing(settings, sources, items.targets.astype(np.int64) + 1)
    rng = np.random.default_rng(0)
    parts = plan(columns, ahead, settings, rng)
    return columns, parts, [make_batch(columns, ahead, part, drawing, rng) for part in parts]


def test_a_batch_by_hand():
    _, parts, (batch,) = made(SequenceSettings(), (All(3),))
    order = np.argsort(parts[0][:, 0])
    assert parts[0][order].tolist() == [[0, 4], [4, 6]]  # user 3 predicts nothing
    assert batch["nodes"].tolist() == [0, 1, 2, 3, 4]  # padding is of no node
    node = batch["nodes"][batch["item"]][order]
    known = np.arange(4) < np.array([[4], [2]])
    assert np.where(known, node, 9).tolist() == [[1, 4, 2, 1], [2, 2, 9, 9]]
    seconds = batch["seconds"][order]
    assert seconds[0].tolist() == [0, 24 * 3600, 25 * 3600, 72 * 3600]
    row, step = batch["position"] // 4, batch["position"] % 4
    assert (row == batch["row"]).all()
    found = {
        (int(order.argsort()[r]), int(s)): int(batch["nodes"][t])
        for r, s, t in zip(row, step, batch["target"][:, 0], strict=True)
    }
    assert found == {(0, 0): 2, (0, 1): 2, (0, 2): 1, (1, 0): 2}
    # Negatives are all targets; own ones are a and b for the first user, b for the second.
    assert batch["negative"].tolist() == [1, 2, 3]
    assert batch["own"][order].tolist() == [[True, True, False], [False, True, False]]
    assert batch["log_weight"].tolist() == [0, 0, 0]
    hits = sorted(map(tuple, batch["hit"].T.tolist()))
    assert hits == sorted((p, int(t) - 1) for p, t in enumerate(batch["target"][:, 0]))


def test_own_items_may_be_negatives():
    _, _, (batch,) = made(SequenceSettings(exclude_own=False), (All(3),))
    assert not batch["own"].any()
    assert batch["hit"].shape[1] == len(batch["target"])


def test_no_batch_is_longer_than_its_events_and_like_lengths_are_together():
    rows = [(user, hour, IDS[hour % 3]) for user in range(40) for hour in range(2 + user % 19)]
    settings = SequenceSettings(batch_events=60, window=12)
    columns, parts, _ = made(settings, (Uniform(3, 2),), rows)
    sizes = [(part[:, 1] - part[:, 0]).sum() for part in parts]
    assert max(sizes) <= 60 + 12
    assert len(parts) >= columns.events // 72
    spread = [np.ptp(part[:, 1] - part[:, 0]) for part in parts]
    assert np.median(spread) <= 2
    whole = np.concatenate(parts)
    assert (whole[:, 1] - whole[:, 0]).sum() <= columns.events


def test_padding_holds_no_item():
    items = items_of(IDS)
    columns = shard_columns(pack_shard(histories(ROWS), items), items.target_of)
    events = event_arrays(columns, np.array([[0, 4], [4, 6]]))
    assert events["node"][1].tolist() == [2, 2, 0, 0]
    assert events["gap"][1, 2:].tolist() == [0, 0]
