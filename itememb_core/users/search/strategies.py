"""What can be tried: each strategy changes some settings of the sequence model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from itememb_core.settings.sequence import SequenceSettings


@dataclass(frozen=True)
class Strategy:
    """One strategy.

    Attributes:
        name: As ``user_model.strategy`` takes it.
        changes: Values of ``SequenceSettings`` by name.
        why: What it is for, for people.
    """

    name: str
    changes: Mapping[str, object]
    why: str

    def applied(self, settings: SequenceSettings) -> SequenceSettings:
        """Settings with the strategy's values."""
        return SequenceSettings(**{**settings.model_dump(), **self.changes})


#: All, in the order in which a short search takes them: first those that differ most.
STRATEGIES: Final = (
    Strategy("next_event", {"target": "next_event"}, "order matters, the next one is asked for"),
    Strategy("horizon", {"target": "horizon"}, "all of the next weeks count, order does not"),
    Strategy("next_basket", {"target": "next_basket"}, "what is taken at one time is one answer"),
    Strategy(
        "next_event_gru",
        {"target": "next_event", "encoder": "gru"},
        "the latest events alone tell most",
    ),
    Strategy(
        "next_event_popular_negatives",
        {"target": "next_event", "popularity_share": 0.5, "all_up_to": 0},
        "popular items are to be told apart",
    ),
    Strategy(
        "next_event_gbce",
        {"target": "next_event", "loss": "gbce", "all_up_to": 0, "negatives": 256},
        "few negatives, calibrated (Petrov and Macdonald 2023)",
    ),
    Strategy(
        "next_basket_gru",
        {"target": "next_basket", "encoder": "gru"},
        "baskets, of which the latest tell most",
    ),
    Strategy(
        "next_event_wide",
        {"target": "next_event", "dim": 128, "heads": 2, "dropout": 0.3},
        "more units, fewer of them kept",
    ),
)


def strategy_named(name: str) -> Strategy:
    """The strategy of a name.

    Raises:
        KeyError: There is none.
    """
    return {each.name: each for each in STRATEGIES}[name]
