"""A fitted sequence model, and its files: safetensors for the numbers, JSON for settings, sizes."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.learning.dropout import Dropout
from itememb_core.model_files import existing, read_json, read_parquet
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.items import ItemSpace, target_ids
from itememb_core.users.sequence.batches import event_arrays
from itememb_core.users.sequence.columns import Columns, gap_codes, ranges
from itememb_core.users.sequence.network import Network, make_network
from itememb_core.users.shards import Shard

if TYPE_CHECKING:
    from torch import Tensor

MODEL_FILE: Final = "model.safetensors"
SETTINGS_FILE: Final = "settings.json"
HISTORY_FILE: Final = "history.parquet"

HISTORY: Final = pa.schema(
    [
        ("step", pa.int32()),
        ("rate", pa.float64()),
        ("loss", pa.float64()),
        ("validation", pa.float64()),
        ("best", pa.bool_()),
    ]
)

#: Events that are read at once.
_EVENTS: Final = 8192
#: Items that are made at once.
_ITEMS: Final = 65_536
_NAME: Final = "sequence_model"


@dataclass(frozen=True)
class SequenceModel:
    """A fitted sequence model.

    Attributes:
        network: All parameters.
        settings: What it was fitted with.
        targets: Node of each target ``[targets]``.
        times: Whether the events it was fitted on have times that differ.
        steps: Steps that made it; 0: nothing to learn from.
        events: That it was fitted on.
        history: ``HISTORY``, a row for each validation.
        reason: Why nothing was learned; None otherwise.
        target_ids: ``items.target_ids`` of the items it was fitted on.
        seconds: How long the fit took, for metadata; not a part of what is saved.
    """

    network: Network
    settings: SequenceSettings
    targets: NDArray[np.int32]
    times: bool
    steps: int
    events: int
    history: pa.Table
    reason: str | None
    target_ids: str
    seconds: float = field(default=0.0, compare=False)

    @property
    def learned(self) -> bool:
        """Whether a step was taken: else its scores are those of popularity."""
        return self.steps > 0

    @cached_property
    def _items(self) -> "Tensor":
        """All items by node + 1 ``[nodes + 1, dim]``."""
        import torch

        nodes, rows = torch.arange(len(self.network.vectors)), self.network.parameters["rows"]
        with torch.no_grad():
            parts = [self.network.items(part, rows[part]) for part in nodes.split(_ITEMS)]
            return torch.cat(parts)

    def item_matrix(self) -> NDArray[np.float32]:
        """Vectors of all targets with their bias as the last column ``[targets, dim + 1]``."""
        import torch

        rows = torch.from_numpy(self.targets.astype(np.int64)) + 1
        bias = self.network.parameters["bias"].detach()
        return torch.cat([self._items[rows], bias[rows]], dim=1).numpy()

    def cold_matrix(self, nodes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Vectors of items that were no targets ``[nodes, dim]``, by their vectors alone.

        They have neither a trained row nor a bias, so that their scores compare them with each
        other, and not with targets.
        """
        import torch

        rows = torch.from_numpy(nodes.astype(np.int64)) + 1
        none = torch.zeros(len(rows), self.settings.dim)
        with torch.no_grad():
            return self.network.items(rows, none).numpy()

    def user_vectors(
        self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """User vectors after the last ``window`` events before ``end``, float32 ``[users, dim]``.

        Args:
            shard: Histories.
            users: Rows of ``shard.user_ids`` ``[users]``.
            end: End of each one's history, an event number after at least one event ``[users]``.

        Raises:
            ItemembError: If there are not as many ends as users, or a history is empty.
        """
        if len(users) != len(end):
            raise ItemembError(f"{_NAME}: {len(end)} ends, expected {len(users)}, one a user")
        begin = np.maximum(shard.start[users], end - self.settings.window)
        if len(users) and (end <= begin).any():
            row = int(np.argmax(end <= begin))
            raise ItemembError(f"{_NAME}: user {shard.user_ids[users[row]]} has no event before "
                               f"{end[row]}, expected at least one")  # fmt: skip
        result = np.empty((len(users), self.settings.dim), np.float32)
        order = np.argsort(end - begin, kind="stable")  # alike lengths together: little padding
        part = np.cumsum((end - begin)[order]) // _EVENTS
        for rows in np.split(order, np.flatnonzero(np.diff(part)) + 1) if len(order) else []:
            result[rows] = self._read(shard, np.stack([begin[rows], end[rows]], axis=1))
        return result

    def scores(
        self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of all targets, float32 ``[users, targets]``; arguments as :meth:`user_vectors`.

        ``user vector . item vector + bias``.
        """
        vectors, base = self.user_vectors(shard, users, end), self._base
        return vectors @ base[:, :-1].T + base[:, -1]

    @cached_property
    def _base(self) -> NDArray[np.float32]:
        return self.item_matrix()

    def _read(self, shard: Shard, table: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors after the last events of windows ``[batch, 2]``."""
        import torch

        columns = _window_columns(shard, table)
        arrays = event_arrays(columns, np.stack([columns.start[:-1], columns.start[1:]], axis=1))
        events = {name: torch.from_numpy(each) for name, each in arrays.items()}
        events["item"] = events.pop("node")
        last = torch.from_numpy(table[:, 1] - table[:, 0] - 1)
        with torch.no_grad():
            states = self.network.states(events, self._items, Dropout(0.0), last)
            return self.network.users(states).numpy()

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``settings.json`` and ``history.parquet`` into a folder.

        Item vectors and features are not written again; they are read with their tables.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state(), folder / MODEL_FILE)
        about = {
            "settings": self.settings.model_dump(),
            "times": self.times,
            "steps": self.steps,
            "events": self.events,
            "reason": self.reason,
            "columns": self.network.vectors.shape[1],
            "nodes": len(self.network.vectors) - 1,
            "targets": len(self.targets),
            "target_ids": self.target_ids,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(about, indent=1, sort_keys=True))
        pq.write_table(self.history, folder / HISTORY_FILE)

    @classmethod
    def load(
        cls, folder: Path, items: ItemSpace, features: NDArray[np.float32] | None = None
    ) -> "SequenceModel":
        """Read what :meth:`save` wrote and join it with the items that it was fitted on.

        Raises:
            ItemembError: If a file is missing or damaged, or the items have other sizes or ids
                than the model's.
        """
        about: dict[str, Any] = read_json(folder / SETTINGS_FILE, _NAME)
        _check_items(items, features, about, folder / SETTINGS_FILE)
        settings = SequenceSettings(**about["settings"])
        network = make_network(items.vectors, features, settings, times=about["times"], seed=0)
        network.load(_read_state(folder / MODEL_FILE))
        return cls(
            network, settings, items.targets, about["times"], about["steps"],
            about["events"], read_parquet(folder / HISTORY_FILE, _NAME, HISTORY), about["reason"],
            about["target_ids"],
        )  # fmt: skip


def _window_columns(shard: Shard, table: NDArray[np.int64]) -> Columns:
    """Columns of windows ``[n, 2]``; the first gap of each is as it was in the whole history."""
    place = ranges(table[:, 0], table[:, 1])
    start = np.concatenate([[0], np.cumsum(table[:, 1] - table[:, 0])]).astype(np.int64)
    seconds = shard.seconds[place]
    gap = gap_codes(seconds, start)
    first = table[:, 0]
    earlier = first > shard.start[shard.users_of(first)]  # something of the user's lies before
    pairs = np.stack([shard.seconds[np.maximum(first - 1, 0)], shard.seconds[first]], axis=1)
    whole = gap_codes(pairs.ravel(), np.arange(0, 2 * len(first) + 1, 2))[1::2]
    gap[start[:-1]] = np.where(earlier, whole, 0)
    none = np.zeros(0, np.int32)
    return Columns(
        start=start, seconds=seconds, node=(shard.node[place] + 1).astype(np.int32),
        action=shard.action[place], channel=shard.channel[place], gap=gap, target=none,
        own_start=np.zeros(len(start), np.int64), own=none,
    )  # fmt: skip


def _read_state(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(existing(path, _NAME))
    except (OSError, SafetensorError, ValueError) as error:
        raise ItemembError(f"{_NAME}: {path} cannot be read ({error})") from error


def _check_items(
    items: ItemSpace, features: NDArray[np.float32] | None, about: dict[str, Any], path: Path
) -> None:
    """Raise unless the items are those that the model was fitted on."""
    further = 0 if features is None else features.shape[1]
    found = {"columns": items.dim + further, "nodes": len(items.vectors),
             "targets": len(items.targets)}  # fmt: skip
    for name, value in found.items():
        if about[name] != value:
            raise ItemembError(
                f"{_NAME}: items have {name} {value}, expected {about[name]} ({path})"
            )
    if about["target_ids"] != target_ids(items):
        raise ItemembError(
            f"{_NAME}: {path} is of a model fitted on other items than the vocabulary's (of the "
            "same number)"
        )
