"""A fitted user model, and its files: safetensors for the numbers, JSON for settings and sizes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.settings import UserModelSettings
from itememb_core.users.items import ItemSpace, target_ids
from itememb_core.users.towers import Towers, make_towers, set_towers_state, towers_state

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
    """

    towers: Towers
    settings: UserModelSettings
    epochs: int
    history: pa.Table
    reason: str | None
    timing: Timing
    target_ids: str

    def save(self, folder: Path) -> None:
        """Write it; see :func:`save_user_model`."""
        save_user_model(self, folder)


def save_user_model(model: UserModel, folder: Path) -> None:
    """Write a model into a folder: ``model.safetensors``, ``settings.json``, ``history.parquet``.

    Item vectors are not written again; they are read with the item table.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(towers_state(model.towers), folder / MODEL_FILE)
    about = {
        "settings": model.settings.model_dump(),
        "epochs": model.epochs,
        "reason": model.reason,
        "item_dim": model.towers.vectors.shape[1],
        "targets": len(model.towers.targets),
        "target_ids": model.target_ids,
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(about, indent=1, sort_keys=True))
    pq.write_table(model.history, folder / HISTORY_FILE)


@dataclass(frozen=True)
class StoredUserModel:
    """A written model that is yet to be joined with its items."""

    folder: Path

    @property
    def epochs(self) -> int:
        """Passes that made it; 0: nothing to learn from."""
        return int(self._about["epochs"])

    @property
    def reason(self) -> str | None:
        """Why nothing was learned; None otherwise."""
        return self._about["reason"]

    @property
    def _about(self) -> dict[str, Any]:
        return json.loads((self.folder / SETTINGS_FILE).read_text())

    def load(self, items: ItemSpace) -> UserModel:
        """Read it with the items that it was fitted on; see :func:`load_user_model`."""
        return load_user_model(self.folder, items)


def load_user_model(folder: Path, items: ItemSpace) -> UserModel:
    """Read a model and join it with the item vectors that it was fitted on.

    Raises:
        ItemembError: If the items have another dimension or number of targets than the model.
    """
    from safetensors.torch import load_file

    about = json.loads((folder / SETTINGS_FILE).read_text())
    found = {"item_dim": items.dim, "targets": len(items.targets)}
    for name, value in found.items():
        if about[name] != value:
            raise ItemembError(f"user model: items have {name} {value}, expected {about[name]}")
    if about["target_ids"] != target_ids(items):
        raise ItemembError(
            f"user model: {folder} was fitted on other items than the vocabulary's (of the same "
            "number); itememb run makes it again"
        )
    settings = UserModelSettings(**about["settings"])
    towers = make_towers(items.vectors, items.targets, items.counts, settings, seed=0)
    set_towers_state(towers, load_file(folder / MODEL_FILE))
    history = pq.read_table(folder / HISTORY_FILE)
    return UserModel(
        towers, settings, about["epochs"], history, about["reason"], Timing(0.0, 0.0, 0),
        about["target_ids"],
    )  # fmt: skip
