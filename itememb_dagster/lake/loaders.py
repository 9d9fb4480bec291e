"""How each kind of version is read back: its class and the function that loads a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from itememb_core.items.drift import DriftReport, load_drift
from itememb_core.items.index import BuiltIndex, load_index
from itememb_core.items.model import ItemModel, load_model
from itememb_core.links.scorer.model import LinkScorer, load_scorer
from itememb_core.users.model import StoredUserModel

LOADERS: dict[type[Any], Callable[[Path], Any]] = {
    BuiltIndex: load_index,
    DriftReport: load_drift,
    ItemModel: load_model,
    LinkScorer: load_scorer,
    StoredUserModel: StoredUserModel,
}
