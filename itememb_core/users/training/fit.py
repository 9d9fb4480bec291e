"""Training of the user model: steps, validation, early stopping."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from itememb_core.device import device
from itememb_core.errors import ItemembError
from itememb_core.items.training.optimizer import RowAdagrad
from itememb_core.progress import Progress, silent
from itememb_core.settings import UserModelSettings
from itememb_core.users.items import ItemSpace, target_ids
from itememb_core.users.model import Timing, UserModel
from itememb_core.users.shards import PackedHistories
from itememb_core.users.towers import (
    Towers,
    item_tower,
    make_towers,
    repeated,
    set_towers_state,
    towers_state,
    user_states,
    user_vectors,
)
from itememb_core.users.training.batches import Sampler, sampler
from itememb_core.users.training.losses import pairwise_logistic, sampled_softmax
from itememb_core.users.training.stream import batch_stream
from itememb_core.users.training.validation import validation_loss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

    Batch = dict[str, Tensor]

HISTORY = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float64()),
        ("validation_loss", pa.float64()),
        ("best", pa.bool_()),
    ]
)


#: The few parameters of the repeat term take larger steps.
_REPEAT_RATE = 3.0

#: The model is a running mean of the dense parameters, over about the last tenth of the steps
#: (polynomial decay, Shamir and Zhang 2013), so that it depends less on the last batches.
_DECAY_POWER = 10


def fit_user_model(
    packed: PackedHistories,
    items: ItemSpace,
    settings: UserModelSettings,
    *,
    seed: int,
    epochs: int | None = None,
    on_epoch: Callable[[Towers, int], None] | None = None,
    progress: Progress = silent,
) -> UserModel:
    """Train the towers.

    Args:
        packed: Histories that the fit may see.
        items: Vectors and targets.
        settings: Sizes, losses, lengths.
        seed: Of the start, the order and every draw.
        epochs: Passes to make on everything, as the backtest found; None: find the best length on
            the next targets of the validation users, which are then kept from training.
        on_epoch: Called with the towers and the number of passes after each, to keep a checkpoint.
        progress: Called after each step.

    Raises:
        ItemembError: If the vectors' dimension is not ``settings.item_dim``, before anything
            else is done.
    """
    if settings.item_dim not in {None, items.dim}:
        raise ItemembError(
            f"user_model.item_dim: item vectors have dimension {items.dim}, "
            f"expected {settings.item_dim}"
        )
    towers = make_towers(items.vectors, items.targets, packed.item_users, settings, seed)
    reason = _nothing_to_learn(packed, items)
    if reason is not None:
        none = HISTORY.empty_table()
        return UserModel(towers, settings, 0, none, reason, Timing(0.0, 0.0, 0), target_ids(items))
    validate = epochs is None and settings.validation_share > 0
    sampling = sampler(packed, settings, seed, validate=validate)
    length = settings.max_epochs if epochs is None else epochs
    return _Fit(towers, packed, sampling, progress).run(length, on_epoch, target_ids(items))


def _nothing_to_learn(packed: PackedHistories, items: ItemSpace) -> str | None:
    if not packed.events:
        return "there are no events"
    if not len(items.targets):
        return "no event is about a catalog or offer item"
    return None


class _Fit:
    """One fit: the towers, their running mean, their optimizers and the best state so far."""

    def __init__(
        self, towers: Towers, packed: PackedHistories, sampling: Sampler, progress: Progress
    ) -> None:
        import torch

        self.packed, self.sampling, self.progress = packed, sampling, progress
        self.device = device()
        self.towers = towers = towers.to(self.device)
        rate = sampling.settings.learning_rate
        repeat = [*towers.layers["repeat"].parameters(), *towers.layers["repeat_line"].parameters()]
        known = {id(each) for each in repeat}
        rest = [each for each in towers.layers.parameters() if id(each) not in known]
        self.rates = (rate, _REPEAT_RATE * rate)
        self.row_rate = sampling.settings.row_learning_rate
        self.dense = torch.optim.Adam([{"params": rest}, {"params": repeat}], lr=rate, fused=True)
        self.mean = torch.optim.swa_utils.AveragedModel(towers.layers, multi_avg_fn=_running_mean)
        self.id_rows, self.bias_rows = RowAdagrad(towers.ids), RowAdagrad(towers.bias)
        self.waited, self.steps = 0.0, 0
        self.rows: list[tuple[int, float, float | None, bool]] = []

    def run(
        self, epochs: int, on_epoch: Callable[[Towers, int], None] | None, ids: str
    ) -> UserModel:
        """Train, stop early by validation, return the best."""
        begun = time.perf_counter()
        settings, best, best_epoch = self.sampling.settings, math.inf, 0
        state = towers_state(self.towers)
        for epoch in range(1, epochs + 1):
            loss = self._epoch(epoch)
            layers = cast("ModuleDict", self.mean.module)
            mean = replace(self.towers, layers=layers).to("cpu")  # scores are made there
            validation = None
            if self.sampling.validate:
                validation = validation_loss(mean, self.packed, self.sampling)
            better = validation is None or validation < best
            self.rows.append((epoch, loss, validation, better))
            if on_epoch is not None:
                on_epoch(mean, epoch)
            if better:
                best, best_epoch = math.inf if validation is None else validation, epoch
                state = towers_state(mean)
            elif epoch - best_epoch >= settings.patience:
                break
        towers = self.towers.to("cpu")
        set_towers_state(towers, state)
        timing = Timing(time.perf_counter() - begun, self.waited, self.steps)
        rows = [dict(zip(HISTORY.names, row, strict=True)) for row in self.rows]
        table = pa.Table.from_pylist(rows, schema=HISTORY)
        reason = None if self.steps else "no event is followed by a target"
        return UserModel(towers, settings, best_epoch, table, reason, timing, ids)

    def _epoch(self, epoch: int) -> float:
        """One pass; the mean loss of its steps."""
        total, steps = 0.0, 0
        factor = self.sampling.settings.decay ** (epoch - 1)
        for group, rate in zip(self.dense.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.row_rate = self.sampling.settings.row_learning_rate * factor
        stream = batch_stream(self.packed, self.sampling, epoch)
        while True:
            begun = time.perf_counter()
            batch = next(stream, None)
            self.waited += time.perf_counter() - begun
            if batch is None:
                break
            if batch:
                batch = {name: each.to(self.device) for name, each in batch.items()}
                loss, steps = self._step(batch), steps + 1
                if not math.isfinite(loss):
                    raise ItemembError(
                        f"user_model: loss is {loss} at step {steps} of pass {epoch}, expected a "
                        "finite number; a smaller user_model.learning_rate may help"
                    )
                total += loss
            self.progress(f"user model, epoch {epoch}", steps, 0)
        self.steps += steps
        return total / max(steps, 1)

    def _step(self, batch: "Batch") -> float:
        """One update of everything that the batch touches; its loss."""
        from torch.nn.utils import clip_grad_norm_

        settings, rows = self.sampling.settings, batch["items"]
        ids = self.towers.ids[rows].requires_grad_()  # [items, id_dim]
        bias = self.towers.bias[rows].requires_grad_()  # [items, 1]
        loss = batch_loss(self.towers, batch, ids, bias, settings.loss)
        self.dense.zero_grad()
        loss.backward()
        clip_grad_norm_(self.towers.layers.parameters(), 1.0)
        self.dense.step()
        self.mean.update_parameters(self.towers.layers)
        for table, part in ((self.id_rows, ids), (self.bias_rows, bias)):
            if part.grad is not None:
                table.step(rows, part.grad, self.row_rate)
        return float(loss.detach())


def _running_mean(
    means: "tuple[Tensor, ...] | list[Tensor]",
    values: "tuple[Tensor, ...] | list[Tensor]",
    steps: "Tensor | int",
) -> None:
    """Move the means towards the values, faster while there were few steps."""
    import torch

    torch._foreach_lerp_(means, values, _DECAY_POWER / (_DECAY_POWER + int(steps)))


def batch_loss(
    towers: Towers, batch: "Batch", ids: "Tensor", bias: "Tensor", loss: str
) -> "Tensor":
    """Loss of a batch (``batches.make_batch``) with these id rows and biases of its items."""
    import torch
    from torch.nn.functional import embedding

    states = user_states(towers, batch, batch["position"])
    users = user_vectors(towers, states)  # [positions, dim]
    items = item_tower(towers, batch["items"], ids)  # [items, dim]
    shared, own, target = batch["negative"], batch["own"], batch["target"]
    new = users @ embedding(shared, items).T + embedding(shared, bias).T  # [positions, negatives]
    previous = repeated(towers, _scores(users, items, bias, own), batch["own_features"])
    right = _scores(users, items, bias, target)  # [positions, targets]
    again = repeated(towers, right, batch["target_features"])
    right = torch.where(batch["target_repeated"], again, right)
    if loss == "pairwise_logistic":
        return _pairwise(batch, right, new, previous)
    log_new = batch["negative_log_weight"].masked_fill(~batch["negative_new"], -torch.inf)
    weights = torch.cat([log_new, batch["own_log_weight"]], dim=1)  # [positions, draws]
    scores = torch.cat([new, previous], dim=1)
    hit = _hits(batch, scores + weights, len(items))
    return sampled_softmax(right, scores, weights, hit, batch["target_weight"])


def _hits(batch: "Batch", scores: "Tensor", n_items: int) -> "Tensor":
    """Weighted scores of draws that are the target, else -inf ``[positions, targets, 1 + own]``."""
    import torch

    shared, own, target = batch["negative"], batch["own"], batch["target"]
    column = shared.new_full((n_items,), -1)
    column[shared] = torch.arange(len(shared), device=shared.device)  # each is drawn once at most
    place = column[target]  # [positions, targets]
    new = scores.gather(1, place.clamp_min(0)).masked_fill(place < 0, -torch.inf)
    same = own[:, None, :] == target[:, :, None]  # [positions, targets, own]
    previous = scores[:, None, len(shared) :].masked_fill(~same, -torch.inf)
    return torch.cat([new[:, :, None], previous], dim=2)


def _pairwise(batch: "Batch", right: "Tensor", new: "Tensor", previous: "Tensor") -> "Tensor":
    """The pairwise loss; a draw that is the target is masked."""
    import torch

    target = batch["target"][:, :, None]  # [positions, targets, 1]
    able_new = batch["negative_new"][:, None, :] & (batch["negative"] != target)
    able_own = (batch["own"][:, None, :] != target) & batch["own_log_weight"].isfinite()[:, None, :]
    valid = torch.cat([able_new, able_own], dim=2)  # [positions, targets, draws]
    scores = torch.cat([new, previous], dim=1)
    return pairwise_logistic(right, scores, valid, batch["target_weight"])


def _scores(users: "Tensor", items: "Tensor", bias: "Tensor", places: "Tensor") -> "Tensor":
    """User times item, plus bias, of each position's own items ``[positions, n]``.

    Rows are taken by ``embedding``: the gradient of an index adds in the order of its threads.
    """
    import torch
    from torch.nn.functional import embedding

    chosen = embedding(places, items)  # [positions, n, dim]
    return torch.bmm(chosen, users[:, :, None])[..., 0] + embedding(places, bias)[..., 0]
