"""What every baseline promises, by one suite over all of them."""

from dataclasses import replace

import numpy as np
import pytest

from itememb_core.users.baselines import BASELINES
from itememb_core.users.validation import validation_slice
from tests.worlds.users import habits, items_of, pack

#: Those that know of nothing but the user's last item or vectors rank no popular item first.
FILLED = ("own_most_frequent", "decayed_frequency", "item_knn", "markov_chain",
          "last_item_co_occurrence", "popularity")  # fmt: skip

each = pytest.mark.parametrize("baseline", BASELINES, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    ids, rows = habits(users=12, weeks=6)
    rows += [(99, hour, "opaque") for hour in (1, 2)]
    items = items_of(ids)
    return pack(tmp_path_factory.mktemp("whole"), rows, items), items, rows


@each
def test_scores_are_finite_float32_of_users_and_targets(baseline, world):
    packed, items, _ = world
    (shard,) = packed.shards()
    users = np.array([1, 4, 12])
    fitted = baseline.fit(packed, items)
    scores = fitted.scores(shard, users, shard.start[users + 1])
    assert (scores.shape, scores.dtype) == ((3, len(items.targets)), np.float32)
    assert np.isfinite(scores).all()
    again = scores.copy()
    scores[:] = -np.inf  # the caller's
    assert np.array_equal(fitted.scores(shard, users, shard.start[users + 1]), again)


@each
def test_users_are_scored_alike_in_any_block(baseline, world):
    packed, items, _ = world
    (shard,) = packed.shards()
    fitted, users = baseline.fit(packed, items), np.arange(13)
    whole = fitted.scores(shard, users, shard.start[1:])
    for user in users:
        alone = fitted.scores(shard, users[user : user + 1], shard.start[user + 1 : user + 2])
        assert alone[0] == pytest.approx(whole[user], rel=1e-5, abs=1e-6)


@each
def test_what_comes_after_the_ends_is_not_seen(baseline, world, tmp_path):
    packed, items, rows = world
    ends = validation_slice(packed, 7).ends
    (shard,), (limit,) = packed.shards(), ends.values()
    size = limit - shard.start[:-1]
    names = sorted({row[0] for row in rows})
    short = [row for user, n in zip(names, size, strict=True)
             for row in [each for each in rows if each[0] == user][:n]]  # fmt: skip
    assert 0 < len(short) < len(rows)
    cut = pack(tmp_path, short, items)
    (before,) = cut.shards()
    users = np.arange(len(limit))
    seen = baseline.fit(packed, items, ends).scores(shard, users, limit)
    assert np.array_equal(seen, baseline.fit(cut, items).scores(before, users, before.start[1:]))


@each
def test_settings_make_a_difference_or_are_not_on_the_ladder(baseline, world):
    packed, items, _ = world
    (shard,) = packed.shards()
    users, end = np.arange(13), shard.start[1:]
    if baseline.name == "tifu_knn":  # six baskets are one group of seven
        baseline = replace(baseline, group=3)
    small = {"neighbours": 1, "group": 1, "latest": 1, "baskets": 1}
    for name, values in baseline.ladder.items():
        assert getattr(baseline, name) in values
        other = replace(baseline, **{name: small.get(name, values[0])})
        if other == baseline:
            other = replace(baseline, **{name: values[-1]})
        a, b = (x.fit(packed, items).scores(shard, users, end) for x in (baseline, other))
        assert not np.allclose(a, b), name


@pytest.mark.parametrize("baseline", [b for b in BASELINES if b.name in FILLED])
def test_a_user_without_targets_gets_the_popular_ones(baseline, world):
    packed, items, _ = world
    (shard,) = packed.shards()
    users = np.array([12])
    scores = baseline.fit(packed, items).scores(shard, users, shard.start[users + 1])[0]
    counts = np.bincount(shard.pair_key[shard.pair[shard.own]] % 30, minlength=30)
    assert np.array_equal(np.argsort(-scores, kind="stable"), np.argsort(-counts, kind="stable"))
