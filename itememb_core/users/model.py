"""A fitted user model, and its files: safetensors for the numbers, JSON for settings and sizes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.model_files import existing, read_json, read_parquet
from itememb_core.settings import UserModelSettings
from itememb_core.users.baselines import Baseline, Fitted
from itememb_core.users.items import ItemSpace, target_ids
from itememb_core.users.ranking.fit import ALONE, COUNTS, SEQUENCE, TOWERS, Ranking
from itememb_core.users.ranking.parts import Parts, item_facts
from itememb_core.users.ranking.ranker import Ranker
from itememb_core.users.scoring import TowerScores
from itememb_core.users.sequence.model import SequenceModel
from itememb_core.users.shards import PackedHistories
from itememb_core.users.towers import Towers, make_towers, set_towers_state, towers_state

if TYPE_CHECKING:
    from torch import Tensor

MODEL_FILE = "model.safetensors"
SETTINGS_FILE = "settings.json"
HISTORY_FILE = "history.parquet"


class Timing(NamedTuple):
    """Seconds of a fit: in all, and spent waiting for batches; steps taken."""

    seconds: float
    waited: float
    steps: int


@dataclass(frozen=True)
class UserModel:
    """A fitted user model.

    Attributes:
        towers: All parameters.
        settings: What it was fitted with.
        epochs: Passes over the histories that made it; 0: nothing to learn from.
        history: ``HISTORY``, a row a pass.
        reason: Why nothing was learned; None otherwise.
        timing: How long it took, for metadata; not a part of what is saved.
        target_ids: ``items.target_ids`` of the items it was fitted on.
        ranker: Orders what the towers and the counting parts find.
        counts: Those parts with their settings, by name.
        sequence: Beside the towers; None: there is none.
        strategy: What it was trained on and how, a name of ``STRATEGIES``.
    """

    towers: Towers
    settings: UserModelSettings
    epochs: int
    history: pa.Table
    reason: str | None
    timing: Timing
    target_ids: str
    ranker: Ranker = ALONE
    counts: Mapping[str, Baseline] = field(default_factory=dict)
    sequence: SequenceModel | None = None
    strategy: str | None = None

    def ranked_by(self, ranking: Ranking) -> "UserModel":
        """The same towers with a ranking that was chosen."""
        return replace(self, ranker=ranking.choice.ranker, counts=ranking.counts)

    def parts(
        self,
        packed: PackedHistories,
        items: ItemSpace,
        fitted: Mapping[str, Fitted] | None = None,
    ) -> Parts:
        """The parts that the ranking needs, fitted to histories; nothing is trained again.

        Args:
            packed: Histories.
            items: Targets.
            fitted: :meth:`networks` and counting parts fitted to them already, by name; None: none.
        """
        known = self.networks(packed) if fitted is None else fitted
        # In the ranking's order: features are told apart by their place.
        counts = {
            name: known[name] if name in known else self.counts[name].fit(packed, items)
            for name in self.ranker.parts if name in self.counts
        }  # fmt: skip
        networks = {name: known[name] for name in self.ranker.parts if name not in self.counts}
        return Parts(networks, counts, item_facts(packed))

    def networks(self, packed: PackedHistories) -> dict[str, Fitted]:
        """The parts that were trained, by name, for users of these histories."""
        own: dict[str, Fitted] = {TOWERS: self.tower_scores(packed)}
        return own if self.sequence is None else own | {SEQUENCE: self.sequence}

    def tower_scores(self, packed: PackedHistories) -> TowerScores:
        """The towers as a part, for users of these histories."""
        return TowerScores.of(self.towers, self.settings, packed.item_stats)

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder: ``model.safetensors``, ``settings.json``,
        ``history.parquet`` and those of the ranking.

        Item vectors are not written again; they are read with the item table.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(towers_state(self.towers), folder / MODEL_FILE)
        about = {
            "settings": self.settings.model_dump(),
            "epochs": self.epochs,
            "reason": self.reason,
            "item_dim": self.towers.vectors.shape[1],
            "targets": len(self.towers.targets),
            "target_ids": self.target_ids,
            "counts": {name: dict(vars(each)) for name, each in self.counts.items()},
            "strategy": self.strategy,
            "sequence_steps": self.sequence.steps if self.sequence else 0,
            "sequence_events": self.sequence.events if self.sequence else 0,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(about, indent=1, sort_keys=True))
        pq.write_table(self.history, folder / HISTORY_FILE)
        self.ranker.save(folder)
        if self.sequence is not None:
            self.sequence.save(folder / SEQUENCE)

    @classmethod
    def load(cls, folder: Path, items: ItemSpace) -> "UserModel":
        """Read what :meth:`save` wrote and join it with the items that it was fitted on.

        Raises:
            ItemembError: If a file is missing or damaged, or the items have another dimension,
                number of targets or ids than the model's.
        """
        about = _read_about(folder)
        _check_items(items, about, folder / SETTINGS_FILE)
        settings = UserModelSettings(**about["settings"])
        towers = make_towers(items.vectors, items.targets, items.counts, settings, seed=0)
        set_towers_state(towers, _read_state(folder / MODEL_FILE))
        history = read_parquet(folder / HISTORY_FILE, "user_model")
        strategy = about["strategy"]
        return cls(
            towers, settings, about["epochs"], history, about["reason"], Timing(0.0, 0.0, 0),
            about["target_ids"], Ranker.load(folder), _counts(about, folder / SETTINGS_FILE),
            SequenceModel.load(folder / SEQUENCE, items) if strategy else None, strategy,
        )  # fmt: skip


@dataclass(frozen=True)
class StoredUserModel:
    """A written model that is yet to be joined with its items.

    Attributes:
        folder: Where it lies.
        epochs: Passes that made it; 0: nothing to learn from.
        reason: Why nothing was learned; None otherwise.
        ranker: Of the model.
        counts: Of the model.
        strategy: Of its sequence model; None: it has none.
        sequence: Steps that made that, and events that it saw.
    """

    folder: Path
    epochs: int
    reason: str | None
    ranker: Ranker
    counts: Mapping[str, Baseline]
    strategy: str | None
    sequence: tuple[int, int]

    @classmethod
    def load(cls, folder: Path) -> "StoredUserModel":
        """Read the facts that need no items.

        Raises:
            ItemembError: If their file is missing or damaged.
        """
        about = _read_about(folder)
        path = folder / SETTINGS_FILE
        try:
            return cls(
                folder, about["epochs"], about["reason"], Ranker.load(folder),
                _counts(about, path), about["strategy"],
                (about["sequence_steps"], about["sequence_events"]),
            )  # fmt: skip
        except KeyError as error:
            raise ItemembError(f"user_model: {path} lacks {error}") from error

    def with_items(self, items: ItemSpace) -> UserModel:
        """Read the model with the items that it was fitted on; see :meth:`UserModel.load`."""
        return UserModel.load(self.folder, items)


def _counts(about: dict[str, Any], path: Path) -> dict[str, Baseline]:
    """The counting parts of a stored model."""
    known: dict[str, Any] = {each.name: each for each in COUNTS}
    try:
        return {name: replace(known[name], **own) for name, own in about["counts"].items()}
    except (KeyError, TypeError) as error:
        raise ItemembError(f"user_model: {path} has parts of a ranking that are unknown "
                           f"({error})") from error  # fmt: skip


def _read_about(folder: Path) -> dict[str, Any]:
    return read_json(folder / SETTINGS_FILE, "user_model")


def _read_state(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(existing(path, "user_model"))
    except (OSError, SafetensorError, ValueError) as error:
        raise ItemembError(f"user_model: {path} cannot be read ({error})") from error


def _check_items(items: ItemSpace, about: dict[str, Any], path: Path) -> None:
    """Raise unless the items are those that the model was fitted on."""
    found = {"item_dim": items.dim, "targets": len(items.targets)}
    for name, value in found.items():
        if about[name] != value:
            raise ItemembError(
                f"user_model: items have {name} {value}, expected {about[name]} ({path})"
            )
    if about["target_ids"] != target_ids(items):
        raise ItemembError(
            f"user_model: {path} is of a model fitted on other items than the vocabulary's (of the "
            "same number); itememb run makes it again"
        )
