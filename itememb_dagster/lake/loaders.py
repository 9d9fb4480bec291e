"""The kinds of version, and how each is read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from itememb_core.items.drift import DriftReport
from itememb_core.items.index import ItemIndex
from itememb_core.items.model import ItemModel
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.users.model import StoredUserModel

LOADERS: dict[type[Any], Callable[[Path], Any]] = {
    kind: kind.load for kind in (DriftReport, ItemIndex, ItemModel, LinkScorer, StoredUserModel)
}
