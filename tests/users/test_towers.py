"""The GRU, the user tower and its padding."""

import numpy as np
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_core.users.features import EVENT_FEATURES, REPEAT_FEATURES
from itememb_core.users.gru import gru
from itememb_core.users.scoring import vectors_of_users
from itememb_core.users.shards import pack_shard
from itememb_core.users.towers import make_towers, repeated, user_states
from itememb_core.users.training.batches import event_arrays
from itememb_core.users.training.fit import batch_loss, fit_user_model
from tests.worlds.users import SMALL, habits, histories, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")


def test_gru_is_torchs_with_its_gradients():
    torch.manual_seed(0)
    layer = torch.nn.GRU(5, 7)
    inputs = torch.randn(6, 3, 5, requires_grad=True)
    weight = torch.randn(6, 3, 7)
    wanted = [inputs, *layer.parameters()]
    gates = torch.nn.functional.linear(inputs, layer.weight_ih_l0, layer.bias_ih_l0)
    ours, (theirs, _) = gru(layer, gates), layer(inputs)
    assert torch.allclose(ours, theirs, atol=1e-6)
    found = torch.autograd.grad((ours * weight).sum(), wanted)
    expected = torch.autograd.grad((theirs * weight).sum(), wanted)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.fixture
def world():
    ids, rows = habits(users=5, weeks=4)
    rows = [row for row in rows if row[1] < 168 * (1 + row[0])]  # users of several lengths
    items = items_of(ids)
    shard = pack_shard(histories(rows), items)
    towers = make_towers(items.vectors, items.targets, np.ones(len(items.targets)), SMALL, 3)
    return shard, towers


def test_padding_changes_nothing(world):
    shard, towers = world
    users = np.arange(5)
    together = vectors_of_users(towers, shard, users, shard.start[1:], SMALL)
    assert len(set(np.diff(shard.start))) > 1
    for user in users:
        alone = vectors_of_users(towers, shard, users[[user]], shard.start[[user + 1]], SMALL)
        assert together[user] == pytest.approx(alone[0], abs=1e-6)


def test_states_look_back_only(world):
    shard, towers = world
    whole = event_arrays(shard, np.array([0]), np.array([6]))
    part = event_arrays(shard, np.array([0]), np.array([4]))
    with torch.no_grad():
        both = [
            user_states(
                towers, {k: torch.from_numpy(v) for k, v in each.items()}, torch.tensor([3])
            )
            for each in (whole, part)
        ]
    assert torch.allclose(*both, atol=1e-6)


def test_another_dimension_is_refused_before_training(tmp_path):
    ids, rows = habits(users=3, weeks=2)
    items = items_of(ids, dim=6)
    packed = pack(tmp_path, rows, items)
    settings = SMALL.model_copy(update={"item_dim": 128})
    calls = []
    with pytest.raises(ItemembError, match="dimension 6, expected 128"):
        fit_user_model(packed, items, settings, seed=0, progress=lambda *a: calls.append(a))
    assert not calls


def random_batch(windows=16, length=50, items=300, draws=32):
    """A batch in which every event predicts, with as many draws of few items."""
    positions, chance = windows * length, torch.Generator().manual_seed(0)

    def places(*shape, below=items):
        return torch.randint(below, shape, generator=chance)

    def features(*shape):
        return torch.randn(*shape, REPEAT_FEATURES, generator=chance)

    return {
        "node": places(windows, length) + 1,
        "action": places(windows, length, below=3),
        "channel": places(windows, length, below=4),
        "features": torch.randn(windows, length, EVENT_FEATURES, generator=chance),
        "lengths": torch.full((windows,), length),
        "position": torch.arange(positions),
        "items": torch.arange(items),
        "target": places(positions, 4),
        "target_weight": torch.ones(positions, 4),
        "target_repeated": torch.ones(positions, 4, dtype=torch.bool),
        "target_features": features(positions, 4),
        "own": places(positions, draws),
        "own_log_weight": torch.zeros(positions, draws),
        "own_features": features(positions, draws),
        "negative": torch.arange(items),
        "negative_log_weight": torch.zeros(items),
        "negative_new": torch.ones(positions, items, dtype=torch.bool),
    }


@pytest.mark.parametrize("loss", ["sampled_softmax", "pairwise_logistic"])
def test_gradients_are_the_same_bits_each_time_on_several_threads(loss):
    torch.set_num_threads(2)  # the module's fixture restores the number
    settings = SMALL.model_copy(update={"dim": 64})
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    towers = make_towers(vectors, np.arange(300), np.ones(300), settings, 3)
    batch, found = random_batch(), []
    for _ in range(4):
        ids, bias = (each.clone().requires_grad_() for each in (towers.ids, towers.bias))
        wanted = [ids, bias, *towers.layers.parameters()]
        found.append(torch.autograd.grad(batch_loss(towers, batch, ids, bias, loss), wanted))
    for again in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], again, strict=True))


def test_an_item_that_was_had_scores_its_share_of_the_base_and_its_term(world):
    _, towers = world
    with torch.no_grad():
        for each in towers.layers["repeat"].parameters():
            each.zero_()
        line = towers.layers["repeat_line"]
        line.weight.zero_()
        line.weight[0, 0], line.weight[1, 1] = 2.0, 0.5  # term by one feature, share by the next
        line.bias.copy_(torch.tensor([-3.0, 0.25]))
        features = torch.zeros(2, REPEAT_FEATURES)
        features[0, :2], features[1, :2] = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 1.5])
        found = repeated(towers, torch.tensor([8.0, -2.0]), features)
    assert found.tolist() == pytest.approx([0.25 * 8 + 2 - 3, (0.25 + 0.75) * -2 + 8 - 3])
