"""The fit, what it gives, and what goes wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence import columns
from itememb_core.users.sequence.fit import fit_sequence_model, rate_at
from itememb_core.users.sequence.model import SequenceModel
from itememb_core.users.shards import pack_histories
from tests.worlds.users import habits, histories, items_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SMALL = SequenceSettings(
    dim=8, window=16, negatives=12, all_up_to=0, batch_events=128, warmup_steps=2,
    learning_rate=0.01, evaluations=3, exclude_own=False,
)  # fmt: skip
GRU = SMALL.model_copy(update={"encoder": "gru", "target": "next_basket"})
HORIZON = SMALL.model_copy(update={"target": "horizon", "loss": "gbce", "gated": True})


def fit(*args, steps=12, **options):
    """Twelve steps."""
    return fit_sequence_model(*args, steps=steps, **options)


@pytest.fixture
def world(tmp_path):
    """Habits of 12 users in two shards."""
    ids, rows = habits(users=12, weeks=8)
    items = items_of(ids)
    tables = [histories([row for row in rows if row[0] % 2 == part]) for part in (0, 1)]
    return pack_histories(tables, items, tmp_path / "packed"), items


def state(model):
    return {name: each.numpy() for name, each in model.network.state().items()}


def same(a, b):
    return all(np.array_equal(state(a)[name], state(b)[name]) for name in state(a))


def whole_users(model, packed):
    parts = []
    for shard in packed.shards():
        users = np.arange(len(shard.user_ids))
        parts.append(model.user_vectors(shard, users, shard.start[users + 1]))
    return np.concatenate(parts)


@pytest.mark.parametrize("settings", [SMALL, GRU, HORIZON], ids=["next", "gru", "horizon"])
def test_the_loss_falls_and_the_seed_says_everything(world, settings):
    packed, items = world
    model = fit(packed, items, settings, seed=0, steps=40)
    losses = model.history["loss"].to_pylist()
    assert losses[-1] < losses[0]
    assert model.steps == 40
    again = fit(packed, items, settings, seed=0, steps=40)
    other = fit(packed, items, settings, seed=1, steps=40)
    assert same(model, again)
    assert not same(model, other)


def test_it_learns_who_likes_what(world):
    packed, items = world
    settings = SMALL.model_copy(update={"target": "next_basket", "all_up_to": 100})
    model = fit(packed, items, settings, seed=0, steps=150)
    matrix = model.item_matrix()
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(items.targets), 9)
    scores = whole_users(model, packed) @ matrix[:, :-1].T + matrix[:, -1]
    ranks = []
    for row, shard in enumerate((s, u) for s in packed.shards() for u in range(len(s.user_ids))):
        of, user = shard
        node = of.node[of.start[user] : of.start[user + 1]]
        target = items.targets_of(node)
        favourite = np.bincount(target[target >= 0]).argmax()
        ranks.append((scores[row] > scores[row, favourite]).sum())
    assert np.median(ranks) <= 3


def test_blocks_made_anew_each_pass_train_as_well(world, monkeypatch):
    packed, items = world
    monkeypatch.setattr(columns, "BLOCK_EVENTS", 10)
    model = fit(packed, items, SMALL, seed=0)
    assert model.steps == 12
    assert same(model, fit(packed, items, SMALL, seed=0))


def test_what_lies_after_an_end_changes_nothing(world):
    packed, items = world
    first = packed.shard(packed.names[0])
    ends = {packed.names[0]: first.start[:-1] + 9, packed.names[1]: np.zeros(6, np.int64)}
    model = fit(packed, items, SMALL, seed=0, ends=ends)
    node = np.load(packed.folder / packed.names[0] / "node.npy")
    node[first.start[:-1] + 9] = (node[first.start[:-1] + 9] + 1) % 5
    np.save(packed.folder / packed.names[0] / "node.npy", node)
    assert same(model, fit(packed, items, SMALL, seed=0, ends=ends))


def test_validation_keeps_the_best_and_stops(world):
    packed, items = world
    values = iter([0.1, 0.5, 0.3, 0.2, 0.1, 0.9])
    seen = []

    def validation(model):
        seen.append((model.steps, state(model)))
        return next(values)

    settings = SMALL.model_copy(update={"patience": 2, "evaluations": 25})
    model = fit(packed, items, settings, seed=0, steps=100, validation=validation)
    assert [steps for steps, _ in seen] == [4, 8, 12, 16]
    assert model.steps == 8
    kept = seen[1][1]
    assert all(np.array_equal(state(model)[name], kept[name]) for name in kept)
    assert model.history["validation"].to_pylist() == [0.1, 0.5, 0.3, 0.2]
    assert model.history["best"].to_pylist() == [True, True, False, False]


@pytest.mark.parametrize("settings", [SMALL, GRU], ids=["transformer", "gru"])
def test_an_interrupted_fit_ends_with_the_same_bytes(world, tmp_path, settings):
    packed, items = world

    def stop(_what, done, _total):
        if done == 7:
            raise KeyboardInterrupt

    def validation(model):
        return -float(np.abs(model.item_matrix()).sum())

    options = {"seed": 0, "validation": validation}
    checkpoint = Checkpoint(tmp_path / "fit", "one", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        fit(packed, items, settings, checkpoint=checkpoint, progress=stop, **options)
    seen = []
    model = fit(
        packed, items, settings, checkpoint=checkpoint,
        progress=lambda _what, done, _total: seen.append(done), **options,
    )  # fmt: skip
    assert seen[0] == 7  # what was written after six steps was gone on from
    whole = fit(packed, items, settings, **options)
    assert same(model, whole)
    assert model.history.equals(whole.history)


@pytest.mark.parametrize("settings", [SMALL, GRU], ids=["transformer", "gru"])
def test_saved_and_read_it_is_the_same(world, tmp_path, settings):
    packed, items = world
    features = np.random.default_rng(0).standard_normal((len(items.vectors), 3)).astype(np.float32)
    model = fit(packed, items, settings, seed=0, features=features)
    model.save(tmp_path / "model")
    again = SequenceModel.load(tmp_path / "model", items, features)
    assert np.array_equal(model.item_matrix(), again.item_matrix())
    assert np.array_equal(whole_users(model, packed), whole_users(again, packed))
    assert again.history.equals(model.history)
    with pytest.raises(ItemembError, match="columns 6, expected 9"):
        SequenceModel.load(tmp_path / "model", items)
    ids = items.vocabulary["item_id"].to_pylist()
    with pytest.raises(ItemembError, match="other items"):
        SequenceModel.load(tmp_path / "model", items_of([*ids[1:-1], ids[0], ids[-1]]), features)
    about = json.loads((tmp_path / "model/settings.json").read_text())
    about["settings"]["dim"] = 4
    (tmp_path / "model/settings.json").write_text(json.dumps(about))
    with pytest.raises(ItemembError, match=r"action has size \(14, 8\), expected \(14, 4\)"):
        SequenceModel.load(tmp_path / "model", items, features)
    (tmp_path / "model/model.safetensors").write_bytes(b"short")
    with pytest.raises(ItemembError, match=r"model\.safetensors cannot be read"):
        SequenceModel.load(tmp_path / "model", items, features)


def test_a_user_vector_depends_on_the_window_before_its_end_alone(world):
    packed, items = world
    model = fit(packed, items, SMALL, seed=0)
    shard = packed.shard(packed.names[0])
    users, end = np.array([3, 0, 5]), shard.start[[4, 1, 6]] - 2
    found = model.user_vectors(shard, users, end)
    assert found.shape == (3, 8)
    alone = [model.user_vectors(shard, users[[i]], end[[i]])[0] for i in range(3)]
    assert found == pytest.approx(np.stack(alone), abs=1e-5)
    later = model.user_vectors(shard, users, end + 1)
    assert not np.allclose(found, later)
    assert model.user_vectors(shard, users[:0], end[:0]).shape == (0, 8)
    with pytest.raises(ItemembError, match="2 ends, expected 3"):
        model.user_vectors(shard, users, end[:2])
    with pytest.raises(ItemembError, match=f"has no event before {shard.start[3]}"):
        model.user_vectors(shard, users[:1], shard.start[[3]])


def test_trained_rows_are_no_longer_than_they_may(world):
    packed, items = world
    settings = SMALL.model_copy(update={"id_norm": 0.02})
    model = fit(packed, items, settings, seed=0)
    norm = np.linalg.norm(state(model)["rows"], axis=1)
    assert norm.max() == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "there are no events"),
        ([(1, 0, "x"), (1, 5, "x")], "no event is followed by a target"),
        ([(1, 0, "fmcg_a"), (2, 0, "fmcg_b")], "no event is followed by a target"),
    ],
)
def test_nothing_to_learn_is_a_result(tmp_path, rows, reason):
    items = items_of(["fmcg_a", "fmcg_b", "x"])
    packed = pack_histories([histories(rows)], items, tmp_path)
    model = fit(packed, items, SMALL, seed=0)
    assert (model.steps, model.reason) == (0, reason)
    assert model.item_matrix().shape == (2, 9)
    assert np.isfinite(whole_users(model, packed)).all() if rows else True


def test_biases_start_at_the_log_share_of_what_is_predicted(tmp_path):
    items = items_of(["fmcg_a", "fmcg_b", "fmcg_c"])
    rows = [(1, hour, item) for hour, item in enumerate(["fmcg_c", "fmcg_b", "fmcg_b", "fmcg_a"])]
    packed = pack_histories([histories(rows)], items, tmp_path)
    model = fit(packed, items, SMALL, seed=0, steps=0)
    assert np.exp(model.item_matrix()[:, -1]) == pytest.approx([2 / 6, 3 / 6, 1 / 6])


EDGES = {
    "all at one time": [(1, 0, item) for item in ["fmcg_a", "fmcg_b", "x"] * 4],
    "one item": [(1, hour, "fmcg_a") for hour in range(30)],
    "days without times": [(1, 24 * (day // 2), "fmcg_a") for day in range(20)],
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("settings", [SMALL, GRU, HORIZON], ids=["next", "gru", "horizon"])
def test_histories_at_the_edges(tmp_path, name, settings):
    items = items_of(["fmcg_a", "fmcg_b", "x"])
    settings = settings.model_copy(update={"exclude_own": True})
    packed = pack_histories([histories(EDGES[name])], items, tmp_path)
    model = fit(packed, items, settings, seed=0, steps=3)
    assert np.isfinite(whole_users(model, packed)).all()
    assert np.isfinite(model.item_matrix()).all()


def test_no_targets_at_all(tmp_path):
    items = items_of(["x"])
    packed = pack_histories([histories([(1, 0, "x"), (1, 5, "x")])], items, tmp_path)
    model = fit(packed, items, SMALL, seed=0)
    assert model.reason == "no event is about a catalog or offer item"
    assert model.item_matrix().shape == (0, 9)


def test_a_loss_that_is_no_number_names_the_step(world):
    packed, items = world
    broken = replace(items, vectors=np.full_like(items.vectors, np.nan))
    with pytest.raises(ItemembError, match="loss is nan at step 1"):
        fit(packed, broken, SMALL, seed=0)


def test_the_same_bytes_on_two_threads(world):
    packed, items = world
    torch.set_num_threads(2)  # the module's fixture restores the number
    models = [fit(packed, items, SMALL, seed=0, steps=6) for _ in range(3)]
    assert same(models[0], models[1])
    assert same(models[0], models[2])


def test_the_rate_warms_up_and_falls_as_a_cosine():
    settings = SequenceSettings(learning_rate=1.0, warmup_steps=10)
    rates = [rate_at(step, 110, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.02 + 0.98 / 2)
    assert rates[109] == pytest.approx(0.02, abs=1e-3)
    constant = settings.model_copy(update={"schedule": "constant"})
    assert rate_at(100, 110, constant) == 1.0
    # A short fit warms up for a tenth of it.
    assert rate_at(1, 20, settings) == 1.0
