"""What is fitted on a GPU where there is one: the same numbers as on the processor."""

import numpy as np
import pytest
import torch

from itememb_core.items.training.batches import plan
from itememb_core.items.training.losses import info_nce, with_norm
from itememb_core.users.towers import make_towers
from itememb_core.users.training.batches import sampler
from itememb_core.users.training.fit import batch_loss
from itememb_core.users.training.stream import batch_stream
from tests.worlds.users import SMALL, fitted, habits, items_of, pack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


def test_the_loss_and_gradients_of_items_are_those_of_the_processor():
    draw, found = torch.Generator().manual_seed(0), []
    query, candidate = (with_norm(torch.randn(60, 8, generator=draw), 1.0)[0] for _ in range(2))
    weight = torch.rand(60, generator=draw) + 0.2
    ends = np.random.default_rng(0).integers(60, size=(2, 1, 40))
    for device in ("cpu", "cuda"):
        (batch,) = plan(*ends, [weight.numpy()], device, 16)
        rows = query.to(device)[batch.query], candidate.to(device)[batch.candidate]
        one = info_nce(*rows, batch.weight, batch)
        found.append((torch.tensor(one.loss), one.rows, one.bias))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs.cpu(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", ["sampled_softmax", "pairwise_logistic"])
def test_the_loss_and_gradients_of_users_are_those_of_the_processor(tmp_path, loss):
    ids, rows = habits()
    items = items_of(ids)
    packed = pack(tmp_path, rows, items)
    towers = make_towers(items.vectors, items.targets, packed.item_users, SMALL, seed=1)
    batch = next(batch_stream(packed, sampler(packed, SMALL, 0, validate=False), 1))
    found = []
    for device in ("cpu", "cuda"):
        there = towers.to(device)
        part = {name: each.to(device) for name, each in batch.items()}
        ids_, bias = (each[part["items"]].requires_grad_() for each in (there.ids, there.bias))
        value = batch_loss(there, part, ids_, bias, loss)
        wanted = [ids_, bias, *there.layers.parameters()]
        found.append([value, *torch.autograd.grad(value, wanted)])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs.cpu(), rtol=1e-3, atol=1e-5)


def test_a_user_model_of_a_gpu_lies_on_the_processor_and_has_learned(tmp_path):
    model, _, _ = fitted(tmp_path, epochs=3)
    losses = model.history["loss"].to_pylist()
    assert losses[-1] < losses[0]
    tensors = (*model.towers.layers.parameters(), model.towers.ids, model.towers.bias)
    assert {each.device.type for each in tensors} == {"cpu"}
