"""Training of the item vectors: steps over relations, validation in time, the best kept."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa

from itememb_core.device import device, product_type
from itememb_core.errors import ItemembError
from itememb_core.items.model import FitFacts, Interval, ItemModel, history_table
from itememb_core.items.training.batches import Batch
from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.items.training.data import TrainingData
from itememb_core.items.training.losses import across, info_nce, with_norm
from itememb_core.items.training.optimizer import RowAdagrad, RowAdam
from itememb_core.items.training.relations import Relation, relations_of, validation_batches
from itememb_core.items.training.schedule import Schedule
from itememb_core.items.training.start import BLOCK, WarmStart, start_from, start_vectors
from itememb_core.progress import Progress, silent
from itememb_core.settings import ItemModelSettings

if TYPE_CHECKING:
    from torch import Tensor

#: Steps between two evaluations.
INTERVAL: Final = 250
#: A learned temperature stays above 1 / 50: bfloat16 holds exp of scores below 88.
MOST_LOG_SCALE: Final = math.log(50.0)
#: Bias of a node that no within-channel pair holds.
LEAST_LOG_SHARE: Final = -18.0


@dataclass
class Tables:
    """What is trained, on one device.

    ``[nodes, dim]``, ``[nodes, dim]``, ``[nodes, 1]``; and the log of what cosines are multiplied
    by, 1 / temperature, ``[1, 1]``.
    """

    embedding: "Tensor"
    context: "Tensor"
    bias: "Tensor"
    log_scale: "Tensor"

    def copy(self) -> "Tables":
        """Return a copy that later steps do not change."""
        return Tables(*(each.clone() for each in vars(self).values()))

    @property
    def temperature(self) -> float:
        """The softmax temperature of cosines."""
        return math.exp(-float(self.log_scale))


class Trainer:
    """Tables, their optimizers and the relations that steps are drawn from."""

    def __init__(
        self, data: TrainingData, settings: ItemModelSettings, seed: int, start: np.ndarray
    ) -> None:
        import torch

        self.settings = settings
        self.device = device()
        self.product = product_type(self.device)
        self.relations = relations_of(data, settings, seed, self.device)
        self.validation = validation_batches(data, settings, seed, self.relations)
        embedding = first_rows(start, settings.row_type).to(self.device)
        bias = torch.from_numpy(start_bias(self.relations, data.nodes)).to(self.device)
        log_scale = torch.tensor([[-math.log(settings.temperature)]], device=self.device)
        self.tables = Tables(embedding, torch.zeros_like(embedding), bias, log_scale)
        made: type[RowAdagrad | RowAdam] = RowAdam if settings.optimizer == "adam" else RowAdagrad
        self._steps = {name: made(table) for name, table in vars(self.tables).items()}

    def tensors(self) -> "dict[str, Tensor]":
        """Return everything that steps change, by name."""
        found = dict(vars(self.tables))
        for of, step in self._steps.items():
            found |= {f"{name}.{of}": tensor for name, tensor in step.state.items()}
        return found

    def next_relation(self) -> Relation:
        """Return the relation furthest behind its share of the steps."""
        total = sum(r.steps for r in self.relations) + 1
        return max(self.relations, key=lambda r: r.share * total - r.steps)

    def step(self, rate: float) -> tuple[str, float]:
        """Draw a batch, move the rows it touches; return the relation's name and the loss."""
        relation = self.next_relation()
        relation.steps += 1
        return relation.name, self._update(relation, relation.next_batch(), rate)

    def _update(self, relation: Relation, batch: Batch, rate: float) -> float:
        """Return the loss of a batch after moving its rows; ``rate`` 0 only measures."""
        return (self._bridge if relation.bridge else self._within)(batch, rate)

    def _bridge(self, batch: Batch, rate: float) -> float:
        """InfoNCE between unit vectors over the temperature."""
        import torch

        rows, queries = torch.cat([batch.query, batch.candidate]), len(batch.query)
        norm = torch.ones(len(rows), 1, device=self.device)
        norm[:queries] = self.tables.log_scale.exp()
        vectors, scale = with_norm(self.tables.embedding.index_select(0, rows).float(), norm)
        low = vectors.to(self.product)
        found = info_nce(low[:queries], low[queries:], batch.weight, batch)
        if rate and self.settings.learn_temperature:
            self._learn_scale(found.rows[:queries], vectors[:queries], rate)
        if rate:
            gradient = across(found.rows, vectors, norm)
            self._steps["embedding"].step(rows, gradient, rate, scale)
        return found.loss

    def _learn_scale(self, gradient: "Tensor", query: "Tensor", rate: float) -> None:
        """Move the temperature: by its log scale, a score's gradient times the score, summed."""
        by_scale = (gradient * query).sum().view(1, 1)
        self._steps["log_scale"].step(by_scale.new_zeros(1).long(), by_scale, rate)
        self.tables.log_scale.clamp_(0.0, MOST_LOG_SCALE)

    def _within(self, batch: Batch, rate: float) -> float:
        """InfoNCE of context(query) · embedding(candidate) + bias(candidate); moves all three."""
        tables, query, candidate = self.tables, batch.query, batch.candidate
        unit, scale = with_norm(tables.embedding.index_select(0, candidate).float(), 1.0)
        context = tables.context.index_select(0, query).to(self.product)
        bias = tables.bias.index_select(0, candidate)[:, 0]
        found = info_nce(context, unit.to(self.product), bias.exp() * batch.weight, batch)
        if rate:
            by_context, by_unit = found.rows.split([len(query), len(candidate)])
            context_rate = rate * self.settings.context_rate
            self._steps["embedding"].step(candidate, across(by_unit, unit, 1.0), rate, scale)
            self._steps["context"].step(query, by_context, context_rate)
            self._steps["bias"].step(candidate, found.bias[:, None], rate)
        return found.loss

    def validate(self) -> dict[str, float]:
        """Return the mean loss of fixed validation batches, by relation."""
        losses = {}
        for relation in self.relations:
            batches = self.validation.get(relation.name, [])
            if batches:
                found = [self._update(relation, batch, 0.0) for batch in batches]
                losses[relation.name] = float(np.mean(found))
        return losses


def first_rows(start: np.ndarray, row_type: str) -> "Tensor":
    """Return start vectors as rows of a type; float16 ones become bfloat16 in their own memory."""
    import torch

    given, kind = torch.from_numpy(start), getattr(torch, row_type)
    if (given.dtype, kind) != (torch.float16, torch.bfloat16):
        return given.to(kind, copy=True)
    rows = given.view(kind)
    for low in range(0, len(rows), BLOCK):
        rows[low : low + BLOCK] = given[low : low + BLOCK].to(kind)
    return rows


def start_bias(relations: list[Relation], nodes: int) -> np.ndarray:
    """Return the log share of each node in its channel's pairs ``[nodes, 1]``, float32."""
    bias = np.full(nodes, LEAST_LOG_SHARE, np.float32)
    for relation in relations:
        if not relation.bridge:
            shares = np.maximum(relation.source.marginal.b, np.exp(LEAST_LOG_SHARE))
            bias = np.maximum(bias, np.log(shares))
    return bias[:, None].astype(np.float32)


@dataclass
class _State:
    """The state of a fit between two intervals."""

    schedule: Schedule
    best: Tables
    done: int = 0
    rows: list[Interval] = field(default_factory=list)

    def tensors(self, trainer: Trainer) -> "dict[str, Tensor]":
        """Return everything that steps change."""
        best = vars(self.best).items() if self.best is not trainer.tables else ()
        return {**trainer.tensors(), **{f"best.{name}": table for name, table in best}}

    def write(self, checkpoint: Checkpoint, trainer: Trainer) -> None:
        """Write the state."""
        state = {
            "done": self.done,
            "rows": self.rows,
            "schedule": vars(self.schedule),
            "steps": [relation.steps for relation in trainer.relations],
        }
        checkpoint.write(self.tensors(trainer), state)

    def read(self, checkpoint: Checkpoint, trainer: Trainer) -> None:
        """Resume from the checkpoint, if there is one."""
        state = cast("dict[str, Any] | None", checkpoint.read(self.tensors(trainer)))
        if state is not None:
            self.done, self.rows = state["done"], state["rows"]
            vars(self.schedule).update(state["schedule"])
            for relation, steps in zip(trainer.relations, state["steps"], strict=True):
                relation.go_to(steps)


def fit(
    data: TrainingData,
    settings: ItemModelSettings,
    seed: int,
    *,
    like: pa.Table | None = None,
    warm_start: WarmStart | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = silent,
) -> ItemModel:
    """Train item vectors; the rate falls evenly to ``last_rate`` and is halved on a plateau.

    Args:
        data: Pairs and bags of the vocabulary's nodes.
        settings: Of the stage.
        seed: Of the start and of every draw.
        like: History whose rates and length are repeated; None: found by validation.
        warm_start: Vectors to start from; ``previous_steps`` and ``previous_rate`` hold then.
        checkpoint: Written from time to time; a fit that was killed resumes from it and ends with
            the same vectors as one that was not (but for a GPU's order of sums).
        progress: Called after each interval.

    Raises:
        ItemembError: If a loss stops being a finite number; it names the step. If the checkpoint
            is damaged, of other dims, or cannot be written.
    """
    trainer = _trainer(data, settings, seed, warm_start, progress)
    (rate, most), rates = _length(settings, warm_start), {} if warm_start else _rates(like)
    current = _begun(trainer, rate, rates)
    last = max(rates, default=most) if trainer.relations else 0
    if checkpoint:
        current.read(checkpoint, trainer)
    while current.done < last and not current.schedule.ended:
        _interval(trainer, current, rates, last)
        progress("item vectors", current.done, last)
        if checkpoint and checkpoint.due:
            current.write(checkpoint, trainer)
    length = current.schedule.best_step or last
    history = history_table([row for row in current.rows if row["step"] <= length])
    return ItemModel.of(current.best, history, _facts(trainer, current.best, settings, length))


def _begun(trainer: Trainer, rate: float, rates: dict[int, float]) -> _State:
    """A fit before its first step; without validation the last tables are the best."""
    validated = bool(trainer.validation) and not rates
    best = trainer.tables.copy() if validated else trainer.tables  # no second copy is held
    return _State(Schedule(rate), best)


def _length(settings: ItemModelSettings, warm_start: WarmStart | None) -> tuple[float, int]:
    """First learning rate and most steps."""
    if warm_start is None:
        return settings.learning_rate, settings.max_steps
    return settings.learning_rate * settings.previous_rate, settings.previous_steps


def _trainer(
    data: TrainingData,
    settings: ItemModelSettings,
    seed: int,
    warm_start: WarmStart | None,
    progress: Progress,
) -> Trainer:
    """A trainer at its start, cold or warm."""
    import torch

    if warm_start is None:
        return Trainer(data, settings, seed, start_vectors(data, settings, seed, progress))
    trainer = Trainer(data, settings, seed, start_from(data, warm_start, seed))
    rows = torch.from_numpy(np.flatnonzero(warm_start.known)).to(trainer.device)
    for table, values in (
        (trainer.tables.context, warm_start.context),
        (trainer.tables.bias, warm_start.bias[:, None]),
    ):
        table[rows] = torch.from_numpy(values[warm_start.known]).to(table)
    return trainer


def _interval(trainer: Trainer, current: _State, rates: dict[int, float], last: int) -> None:
    """Take the steps to the next evaluation, evaluate, keep the tables if they are the best."""
    step = min(current.done + INTERVAL, last)
    fall = (1 - trainer.settings.last_rate) * current.done / last
    rate = rates.get(step, current.schedule.rate * (1 - fall))
    losses = _run(trainer, range(current.done, step), rate)
    validation = {} if rates else trainer.validate()
    current.done = step
    current.rows.append({"step": step, "rate": rate, "train": losses, "validation": validation})
    score = _score(trainer, validation)
    if score is not None and current.schedule.observe(step, score):
        current.best = trainer.tables.copy()


def _rates(like: pa.Table | None) -> dict[int, float]:
    """Return the rate up to each step of another fit's history; empty without one."""
    if like is None:
        return {}
    return dict(zip(like["step"].to_pylist(), like["rate"].to_pylist(), strict=True))


def _run(trainer: Trainer, steps: range, rate: float) -> dict[str, float]:
    """Take steps; return the mean loss by relation."""
    losses: dict[str, list[float]] = {}
    for done in steps:
        name, loss = trainer.step(rate)
        if not np.isfinite(loss):
            raise ItemembError(
                f"item_model: loss of {name} is {loss} at step {done + 1}, expected a finite "
                "number; a smaller item_model.learning_rate may help"
            )
        losses.setdefault(name, []).append(loss)
    return {name: float(np.mean(values)) for name, values in losses.items()}


def _score(trainer: Trainer, losses: dict[str, float]) -> float | None:
    """Return the validation loss weighted by the relations' shares; None without validation."""
    shares = {r.name: r.share for r in trainer.relations if r.name in losses}
    total = sum(shares.values())
    return sum(losses[n] * s for n, s in shares.items()) / total if total else None


def _facts(trainer: Trainer, tables: Tables, settings: ItemModelSettings, length: int) -> FitFacts:
    """Return what is stored beside the vectors."""
    import torch

    reason = None if trainer.relations else "no pairs and no bags: the vectors are their start"
    return {
        "settings": settings.model_dump(),
        "steps": length,
        "shares": {r.name: round(r.share, 6) for r in trainer.relations},
        "temperature": round(tables.temperature, 6),
        "products": str(trainer.product).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "reason": reason,
    }
