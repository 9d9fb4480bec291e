"""The fit of a sequence model: steps, validation, early stopping, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.items.training.optimizer import RowAdam
from itememb_core.progress import Progress, silent
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.items import ItemSpace, target_ids
from itememb_core.users.sequence.batches import Arrays, Drawing, make_batch, plan
from itememb_core.users.sequence.columns import Columns, blocks, times_differ
from itememb_core.users.sequence.losses import loss_of
from itememb_core.users.sequence.model import HISTORY, SequenceModel
from itememb_core.users.sequence.negatives import Source, sources_of
from itememb_core.users.sequence.network import ROWS, Network, make_network
from itememb_core.users.sequence.step import batch_gradients
from itememb_core.users.sequence.targets import Ahead, targets_ahead
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from torch import Tensor

#: A model's figure on a validation slice, higher is better.
Validation = Callable[[SequenceModel], float]

#: Longest gradient of the dense parameters; a longer one is shortened to it.
_LONGEST: Final = 1.0
#: The rate at the end of a cosine, as a share of the highest.
_LAST_RATE: Final = 0.02


@dataclass(frozen=True)
class _Task:
    """What is to be fitted, and how; see :func:`fit_sequence_model`."""

    items: ItemSpace
    settings: SequenceSettings
    seed: int
    steps: int
    validation: Validation | None
    progress: Progress

    @property
    def every(self) -> int:
        """Steps from one validation to the next."""
        return max(-(-self.steps // self.settings.evaluations), 1)


@dataclass(frozen=True)
class _Data:
    """What is trained on."""

    packed: PackedHistories
    target_of: NDArray[np.int32]
    ends: Ends | None
    settings: SequenceSettings
    whole: list[Columns]  # the only block, kept; empty where there are several

    def blocks(self) -> Iterator[tuple[Columns, Ahead]]:
        """Blocks of events with the targets ahead of each."""
        settings = self.settings
        for block in self.whole or blocks(self.packed, self.target_of, self.ends):
            yield block, targets_ahead(block, settings.target, settings.horizon_days)


def rate_at(step: int, steps: int, settings: SequenceSettings) -> float:
    """The learning rate of a step, counted from 0.

    It grows evenly over the warmup, then stays or falls as half a cosine (Loshchilov and Hutter
    2017) to a fiftieth.
    """
    warmup = min(settings.warmup_steps, max(steps // 10, 1))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - warmup) / max(steps - warmup, 1)
    share = _LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def fit_sequence_model(
    packed: PackedHistories,
    items: ItemSpace,
    settings: SequenceSettings,
    *,
    seed: int,
    steps: int,
    ends: Ends | None = None,
    validation: Validation | None = None,
    features: NDArray[np.float32] | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = silent,
) -> SequenceModel:
    """Train a sequence model; the same bytes for the same machine class and thread count.

    Args:
        packed: Histories.
        items: Vectors and targets.
        settings: Encoder, target, loss, negatives, sizes, lengths.
        seed: Of the start, the order and every draw.
        ends: Where each user's history ends for training; None: all is seen.
        steps: Length of the fit; 0: nothing is learned.
        validation: Called ``settings.evaluations`` times with the model so far. The fit stops once
            ``patience`` of them are no better than the best, whose state is kept. None: the last.
        features: Further columns of each node ``[nodes, columns]``, beside its vector.
        checkpoint: Written from time to time; a fit that was killed resumes from it and ends with
            the same bytes as one that was not.
        progress: Called after each step.

    Raises:
        ItemembError: If sizes do not fit each other, a loss stops being a finite number, or the
            checkpoint cannot be read or written.
    """
    task = _Task(items, settings, seed, steps, validation, progress)
    return _fitted(task, packed, ends, features, checkpoint)


def _fitted(
    task: _Task,
    packed: PackedHistories,
    ends: Ends | None,
    features: NDArray[np.float32] | None,
    checkpoint: Checkpoint | None,
) -> SequenceModel:
    """The model of a task; see :func:`fit_sequence_model`."""
    items, settings = task.items, task.settings
    whole = list(_few(blocks(packed, items.target_of, ends)))
    data = _Data(packed, items.target_of, ends, settings, whole)
    counts = _counts(data, len(items.targets))
    network = make_network(items.vectors, features, settings, times=counts.times, seed=task.seed)
    network.start_bias(items.targets, counts.log_share)
    reason = _nothing_to_learn(packed, items, int(counts.predicted.sum()))
    if reason is None and not task.steps:
        reason = "no step was taken: user_model.budget_minutes is too small for a fit"
    state = _State(network.state())
    begun = time.perf_counter()
    if reason is None:
        _Fit(network, data, task, counts).run(state, checkpoint)
        network.load(state.best)
    history = pa.Table.from_pylist(state.rows, schema=HISTORY)
    length = state.best_step if task.validation is not None else state.done
    return SequenceModel(
        network, settings, items.targets, counts.times, length, counts.events, history, reason,
        target_ids(items), time.perf_counter() - begun,
    )  # fmt: skip


def _few(made: Iterator[Columns]) -> Iterator[Columns]:
    """The only block, or nothing where there are several: they are made anew each pass."""
    first = next(made, None)
    if first is not None and next(made, None) is None:
        yield first


@dataclass(frozen=True)
class _Counts:
    """What is counted over all blocks before a fit."""

    predicted: NDArray[np.int64]  # [targets], how often events predict each target
    users: NDArray[np.int64]  # [targets], users who interacted with it before their ends
    times: bool  # whether any user's times differ
    events: int

    @property
    def log_share(self) -> NDArray[np.float32]:
        """Log of the share of what is predicted that each target is; one is added to each."""
        counts = self.predicted + 1.0
        return np.log(counts / max(counts.sum(), 1.0)).astype(np.float32)


def _counts(data: _Data, targets: int) -> _Counts:
    """Count over all blocks; one target of each event's stands for all."""
    predicted, users = np.zeros(targets, np.int64), np.zeros(targets, np.int64)
    times, size = False, 0
    for columns, ahead in data.blocks():
        size += columns.events
        events = np.flatnonzero(ahead.high > ahead.low)
        if len(events):
            predicted += np.bincount(ahead.items[ahead.low[events]], minlength=targets)
        if len(columns.own):
            users += np.bincount(columns.own, minlength=targets)
        times = times or times_differ(columns)
    return _Counts(predicted, users, times, size)


def _nothing_to_learn(packed: PackedHistories, items: ItemSpace, predicted: int) -> str | None:
    if not packed.events:
        return "there are no events"
    if not len(items.targets):
        return "no event is about a catalog or offer item"
    if not predicted:
        return "no event is followed by a target"
    return None


@dataclass
class _State:
    """What a fit has come to; ``best`` is a copy of parameters."""

    best: "dict[str, Tensor]"
    done: int = 0
    best_step: int = 0
    best_value: float = -math.inf
    losses: float = 0.0  # sum since the last row
    rows: list[dict[str, object]] = field(default_factory=list)


class _Fit:
    """One fit: the network, its optimizers and the stream of batches."""

    def __init__(self, network: Network, data: _Data, task: _Task, counts: _Counts) -> None:
        import torch

        self.network, self.data, self.task, self.times = network, data, task, counts.times
        self.digest = target_ids(task.items)
        self.settings, items = task.settings, task.items
        sources = sources_of(self.settings, counts.users, counts.predicted)
        self.drawing = Drawing(self.settings, sources, items.targets.astype(np.int64) + 1)
        self.dense = {n: p.requires_grad_() for n, p in network.parameters.items() if n not in ROWS}
        self.rows = {name: RowAdam(network.parameters[name]) for name in ROWS}
        matrices = [p for p in self.dense.values() if p.ndim > 1]
        others = [p for p in self.dense.values() if p.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others}]
        groups[1]["weight_decay"] = 0.0
        self.adam = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=True)
        for parameter in self.dense.values():  # made here, so that a checkpoint can fill it
            zeros = (torch.zeros_like(parameter.detach()) for _ in range(2))
            self.adam.state[parameter] = dict(
                zip(("exp_avg", "exp_avg_sq"), zeros, strict=True), step=torch.zeros(())
            )
        self.loss = loss_of(self.settings, len(items.targets), self._draws(sources))

    def _draws(self, sources: tuple[Source, ...]) -> int:
        """Negatives that a batch draws, on average."""
        every = np.arange(len(self.task.items.targets))
        return round(float(np.sum([each.expected(every).sum() for each in sources])))

    def run(self, state: _State, checkpoint: Checkpoint | None) -> None:
        """Take the steps that are left."""
        if checkpoint is not None:
            self._resume(state, checkpoint)
        batches = self._batches(state.done)
        while state.done < self.task.steps and not self._ended(state):
            self._step(state, next(batches))
            if state.done % self.task.every == 0 or state.done == self.task.steps:
                self._evaluate(state)
            self.task.progress("sequence model", state.done, self.task.steps)
            if checkpoint is not None and checkpoint.due:
                self._write(state, checkpoint)
        if self.task.validation is None:
            state.best = self.network.state()

    def _ended(self, state: _State) -> bool:
        """Whether validation stopped improving."""
        waited = (state.done - state.best_step) // self.task.every
        return self.task.validation is not None and waited >= self.settings.patience

    def _batches(self, skip: int) -> Iterator[Arrays]:
        """Batches without end, the first ``skip`` left out."""
        epoch = 0
        while True:
            for block, (columns, ahead) in enumerate(self.data.blocks()):
                seed = (self.task.seed, epoch, block)
                parts = plan(columns, ahead, self.settings, np.random.default_rng([*seed, 0]))
                for number, table in enumerate(parts[skip:], min(skip, len(parts)) + 1):
                    rng = np.random.default_rng([*seed, number])
                    yield make_batch(columns, ahead, table, self.drawing, rng)
                skip -= min(skip, len(parts))
            epoch += 1

    def _step(self, state: _State, arrays: Arrays) -> None:
        """Move what a batch touches."""
        import torch

        batch = {name: torch.from_numpy(each) for name, each in arrays.items()}
        rng = np.random.Generator(np.random.SFC64([self.task.seed, state.done]))
        rate = rate_at(state.done, self.task.steps, self.settings)
        value, gradients = batch_gradients(self.network, batch, self.settings, self.loss, rng)
        state.done += 1
        if not math.isfinite(value):
            raise ItemembError(
                f"sequence model: loss is {value} at step {state.done}, expected a finite number; "
                "a smaller learning_rate may help"
            )
        for name, table in self.rows.items():
            table.step(batch["nodes"], gradients[name], rate)
        self._limit_rows(batch["nodes"])
        self._dense_step(gradients, rate)
        state.losses += value

    def _dense_step(self, gradients: "dict[str, Tensor]", rate: float) -> None:
        from torch.nn.utils import clip_grad_norm_

        for name, parameter in self.dense.items():
            parameter.grad = gradients.get(name)
        clip_grad_norm_(self.dense.values(), _LONGEST)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad()

    def _limit_rows(self, nodes: "Tensor") -> None:
        """Shorten trained rows that are longer than they may be; row 0 is of no item."""
        import torch

        table = self.network.parameters["rows"]
        rows = table.index_select(0, nodes)
        norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        rows *= (self.settings.id_norm / norm.clamp_min(1e-12)).clamp_max(1.0)
        table.index_copy_(0, nodes, rows)

    def _evaluate(self, state: _State) -> None:
        """Add a row to the history; keep the state if it is the best."""
        value = None
        if self.task.validation is not None:
            value = self.task.validation(self._model(state.done))
            if value > state.best_value:
                state.best_value, state.best_step = value, state.done
                state.best = self.network.state()
        taken = state.done - (cast("int", state.rows[-1]["step"]) if state.rows else 0)
        state.rows.append({
            "step": state.done, "rate": rate_at(state.done - 1, self.task.steps, self.settings),
            "loss": state.losses / taken, "validation": value,
            "best": value is None or state.best_step == state.done,
        })  # fmt: skip
        state.losses = 0.0

    def _model(self, done: int) -> SequenceModel:
        """The model so far; it shares the parameters, so it holds until the next step."""
        none = HISTORY.empty_table()
        return SequenceModel(self.network, self.settings, self.task.items.targets, self.times, done,
                             0, none, None, self.digest)  # fmt: skip

    def _tensors(self, state: _State) -> "dict[str, Tensor]":
        """Everything that steps change."""
        found = {name: each.detach() for name, each in self.network.parameters.items()}
        found |= {f"best.{name}": each for name, each in state.best.items()}
        for name, table in self.rows.items():
            found |= {f"{name}.{part}": each for part, each in table.state.items()}
        for name, parameter in self.dense.items():
            own = self.adam.state[parameter]
            found |= {f"{name}.{part}": each for part, each in own.items()}
        return found

    def _write(self, state: _State, checkpoint: Checkpoint) -> None:
        named = {name: value for name, value in vars(state).items() if name != "best"}
        checkpoint.write(self._tensors(state), named)

    def _resume(self, state: _State, checkpoint: Checkpoint) -> None:
        found = cast("dict[str, Any] | None", checkpoint.read(self._tensors(state)))
        if found is not None:
            vars(state).update(found)
