"""Baselines of the user model: counts of the user, of like users and of neighbouring items.

What belongs here: methods that rank targets by counting, each a frozen dataclass of its settings
with ``fit`` and ``scores`` (``protocol``), and the choice of settings (``selection``). What does
not: metrics (``evaluation``), anything trained by gradients.
"""

from typing import Final

from itememb_core.users.baselines.item_knn import ItemKnn
from itememb_core.users.baselines.last_item import LastItemCoOccurrence, MarkovChain
from itememb_core.users.baselines.personal import DecayedFrequency, OwnMostFrequent
from itememb_core.users.baselines.popularity import ChannelPopularity, Popularity
from itememb_core.users.baselines.protocol import Baseline, Fitted, Scores
from itememb_core.users.baselines.selection import Chosen, choose, choose_all
from itememb_core.users.baselines.tifu_knn import TifuKnn
from itememb_core.users.baselines.up_cf import UpCf
from itememb_core.users.baselines.vectors import MeanOfVectors

#: All, in the order in which they are shown.
BASELINES: Final = (
    OwnMostFrequent(),
    DecayedFrequency(),
    TifuKnn(),
    UpCf(),
    ItemKnn(),
    MarkovChain(),
    LastItemCoOccurrence(),
    MeanOfVectors(),
    ChannelPopularity(),
    Popularity(),
)

__all__ = [
    "BASELINES",
    "Baseline",
    "ChannelPopularity",
    "Chosen",
    "DecayedFrequency",
    "Fitted",
    "ItemKnn",
    "LastItemCoOccurrence",
    "MarkovChain",
    "MeanOfVectors",
    "OwnMostFrequent",
    "Popularity",
    "Scores",
    "TifuKnn",
    "UpCf",
    "choose",
    "choose_all",
]
