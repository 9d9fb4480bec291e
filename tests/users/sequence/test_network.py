"""Encoders look back only; items start as their vectors; written gradients are automatic ones."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_core.learning.dropout import Dropout
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.losses import Gbce, Pairwise, Softmax
from itememb_core.users.sequence.network import make_network, principal_directions
from itememb_core.users.sequence.step import batch_gradients
from itememb_core.users.sequence.transformer import Transformer, time_codes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

NODES, WIDTH = 9, 5
VECTORS = np.random.default_rng(0).standard_normal((NODES, WIDTH)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)

KINDS = {
    "gru": SequenceSettings(encoder="gru", dim=8),
    "transformer": SequenceSettings(dim=8, window=12),
    "gated": SequenceSettings(dim=8, window=12, gated=True),
    "no times": SequenceSettings(dim=8, window=12, time_bias=False),
}


def network_of(settings, features=None):
    network = make_network(VECTORS, features, settings, times=True, seed=3)
    chance = torch.Generator().manual_seed(1)
    for name, each in network.parameters.items():  # so that nothing is at a special value
        each.add_(0.1 * torch.randn(each.shape, generator=chance))
        each.requires_grad_(name not in {"rows", "bias"})
    return network


def events(batch=2, length=6):
    chance = torch.Generator().manual_seed(0)

    def codes(below):
        return torch.randint(below, (batch, length), generator=chance)

    seconds = codes(5000).cumsum(dim=1).to(torch.int32)
    return {"item": codes(NODES + 1), "action": codes(3), "channel": codes(4), "gap": codes(32),
            "seconds": seconds}  # fmt: skip


def states(network, found):
    items = network.items(torch.arange(NODES + 1), network.parameters["rows"])
    with torch.no_grad():
        return network.states(found, items, Dropout(0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_event_changes_nothing_before_it(kind):
    network, found = network_of(KINDS[kind]), events()
    changed = {name: each.clone() for name, each in found.items()}
    changed["item"][:, 4] = (changed["item"][:, 4] + 1) % NODES
    changed["seconds"][:, 4:] += 100_000
    before, after = states(network, found), states(network, changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    network, found = network_of(KINDS[kind]), events()
    short = {name: each[:, :3] for name, each in found.items()}
    assert torch.allclose(states(network, found)[:, :3], states(network, short), atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "gated", "no times"])
def test_earlier_events_and_their_times_count(kind):
    network, found = network_of(KINDS[kind]), events()
    changed = {name: each.clone() for name, each in found.items()}
    changed["item"][:, 0] = (changed["item"][:, 0] + 1) % NODES
    assert not torch.allclose(states(network, found)[:, 5], states(network, changed)[:, 5])
    later = found | {"seconds": found["seconds"] + torch.arange(6, dtype=torch.int32) * 50_000}
    same = torch.allclose(states(network, found), states(network, later))
    assert same == (kind == "no times")


def test_times_are_coded_by_the_floor_of_their_logarithm():
    seconds = torch.tensor([[0, 0, 1, 4, 2**31 - 1]], dtype=torch.int32)
    codes = time_codes(seconds)[0]
    assert codes[3].tolist() == [2, 2, 2, 0, 0]  # 1 + 4 and 1 + 3 lie from 4 to 8
    assert codes[4].tolist() == [31, 31, 31, 31, 0]  # 2^31 - 3 is 2^31 in single precision
    assert codes[1, 0] == 0


def test_attention_is_torchs_where_times_say_nothing():
    encoder = Transformer(dim=8, blocks=1, heads=2, window=6, gated=False, times=False)
    torch.manual_seed(0)
    parameters, inputs = encoder.make(), torch.randn(2, 6, 8)
    found = encoder(parameters, inputs, torch.zeros(2, 6, dtype=torch.int32), Dropout(0.0))
    layer = torch.nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True, norm_first=True)
    names = {
        "self_attn.in_proj_weight": "0.heads", "self_attn.out_proj.weight": "0.joined",
        "linear1.weight": "0.units", "linear2.weight": "0.out", "linear1.bias": "0.units_bias",
        "linear2.bias": "0.out_bias", "norm1.weight": "0.attention_norm",
        "norm2.weight": "0.units_norm",
    }  # fmt: skip
    zeros = {name: torch.zeros_like(each) for name, each in layer.named_parameters()}
    layer.load_state_dict(zeros | {a: parameters[b].T for a, b in names.items()})
    mask = torch.nn.Transformer.generate_square_subsequent_mask(6)
    expected = layer(inputs + parameters["position"], src_mask=mask)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_bias_by_time_is_added_to_the_scores_of_its_code():
    encoder = Transformer(dim=2, blocks=1, heads=1, window=3, gated=False, times=True)
    torch.manual_seed(0)
    parameters, inputs = encoder.make(), torch.randn(1, 3, 2)
    seconds = torch.tensor([[0, 2, 2]], dtype=torch.int32)
    parameters["0.time"][0, 1] = -1e9  # log2(1 + 2) is 1: the first event is as good as gone
    after = encoder(parameters, inputs, seconds, Dropout(0.0))
    other = inputs.clone()
    other[:, 0] += 1
    changed = encoder(parameters, other, seconds, Dropout(0.0))
    assert torch.equal(after[:, 1:], changed[:, 1:])
    assert not torch.equal(after[:, 0], changed[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_after_one_event_of_each_row(kind):
    network, found = network_of(KINDS[kind]), events()
    items = network.items(torch.arange(NODES + 1), network.parameters["rows"])
    last = torch.tensor([5, 2])
    with torch.no_grad():
        one = network.states(found, items, Dropout(0.0), last)
    assert torch.allclose(one, states(network, found)[torch.arange(2), last], atol=1e-5)


def test_items_start_as_their_vectors():
    network = make_network(VECTORS, None, SequenceSettings(dim=8), times=True, seed=0)
    items = network.items(torch.arange(NODES + 1), network.parameters["rows"]).numpy()
    assert items[1:] @ items[1:].T == pytest.approx(VECTORS @ VECTORS.T, abs=1e-6)
    assert (items[0] == 0).all()
    # In fewer dimensions no other projection keeps more of the inner products.
    kept = np.linalg.norm(VECTORS @ principal_directions(VECTORS, 2)) ** 2
    values = np.linalg.svd(VECTORS, compute_uv=False)
    assert kept == pytest.approx((values[:2] ** 2).sum(), rel=1e-5)


def test_features_stand_beside_the_vectors_and_start_as_nothing():
    features = np.ones((NODES, 2), np.float32)
    network = make_network(VECTORS, features, SequenceSettings(dim=8), times=True, seed=0)
    plain = make_network(VECTORS, None, SequenceSettings(dim=8), times=True, seed=0)
    nodes = torch.arange(NODES + 1)
    found, wanted = (n.items(nodes, n.parameters["rows"]) for n in (network, plain))
    assert torch.equal(found, wanted)
    assert network.vectors.shape == (NODES + 1, WIDTH + 2)
    with pytest.raises(ItemembError, match=f"3 rows of item features, expected {NODES}"):
        make_network(VECTORS, features[:3], SequenceSettings(dim=8), times=True, seed=0)


def test_heads_must_divide_the_dimension():
    with pytest.raises(ItemembError, match="dim is 8, expected a multiple of the 3 heads"):
        make_network(VECTORS, None, SequenceSettings(dim=8, heads=3), times=True, seed=0)


def test_dropout_keeps_the_mean_and_drops_its_share():
    drop = Dropout(0.25, np.random.default_rng(0))
    found = drop(torch.ones(100_000))
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert found.max().item() == pytest.approx(1 / 0.75)
    ones = torch.ones(5)
    assert Dropout(0.25)(ones) is ones
    assert Dropout(0.0, np.random.default_rng(0))(ones) is ones


def batch_of():
    """Two windows; positions with two targets, one of which is among the negatives."""
    found = events()
    return found | {
        "nodes": torch.arange(NODES + 1),
        "position": torch.tensor([0, 3, 7, 10]),
        "row": torch.tensor([0, 0, 1, 1]),
        "target": torch.tensor([[1, 2], [3, 3], [4, 5], [6, 1]]),
        "weight": torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]),
        "negative": torch.tensor([1, 2, 7, 8, 9]),
        "log_weight": torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5]),
        "own": torch.tensor([[False, False, True, False, False], [False] * 5]),
        "hit": torch.tensor([[0, 0, 3], [0, 1, 0]]),
    }


def plain_loss(network, batch, rows, bias, loss):
    """The mean loss, all scores at once."""
    items = network.items(batch["nodes"], rows)
    found = network.states(batch, items, Dropout(0.0)).flatten(0, 1)
    users = network.users(found[batch["position"]])
    negative = users @ items[batch["negative"]].T + bias[batch["negative"], 0]
    none = batch["own"][batch["row"]].clone()
    none[batch["hit"][0], batch["hit"][1]] = True
    negative = (negative + batch["log_weight"] * loss.corrected).masked_fill(none, -math.inf)
    target = (items[batch["target"]] * users[:, None]).sum(dim=2) + bias[batch["target"], 0]
    values = PLAIN[type(loss)](target, negative)
    return (values * batch["weight"]).sum() / batch["weight"].sum()


PLAIN = {
    Softmax: lambda t, n: torch.logaddexp(t, torch.logsumexp(n, 1, keepdim=True)) - t,
    Gbce: lambda t, n: (
        (0.5 * torch.nn.functional.softplus(-t)
         + torch.nn.functional.softplus(n).sum(1, keepdim=True))
        / ((n > -math.inf).sum(1, keepdim=True) + 1)
    ),
    Pairwise: lambda t, n: (
        torch.nn.functional.softplus(n[:, None] - t[:, :, None]).sum(2)
        / (n > -math.inf).sum(1, keepdim=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "loss"),
    product(["gru", "gated"], [Softmax(), Gbce(0.5, 1.0), Pairwise()]),
)
def test_gradients_of_a_batch_are_the_automatic_ones(kind, loss, monkeypatch):
    monkeypatch.setattr("itememb_core.users.sequence.step._SCORES", 15)  # three positions a part
    settings, batch = KINDS[kind], batch_of()
    network = network_of(settings)
    rows, bias = (network.parameters[n].clone().requires_grad_() for n in ("rows", "bias"))
    dense = {n: p for n, p in network.parameters.items() if n not in {"rows", "bias"}}
    wanted = {"rows": rows, "bias": bias} | dense
    expected = plain_loss(network, batch, rows, bias, loss)
    gradients = torch.autograd.grad(expected, list(wanted.values()))
    mean, found = batch_gradients(network, batch, settings, loss, None)
    assert mean == pytest.approx(expected.item(), rel=1e-5)
    assert found.keys() == wanted.keys()
    for name, gradient in zip(wanted, gradients, strict=True):
        assert torch.allclose(found[name], gradient, atol=1e-5), name
