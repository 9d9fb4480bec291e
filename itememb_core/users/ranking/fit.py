"""The ranking of a lake: settings of its parts and its order, chosen on the validation slice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from itememb_core.progress import Progress, silent
from itememb_core.users.baselines import (
    Baseline,
    ChannelPopularity,
    DecayedFrequency,
    Fitted,
    ItemKnn,
    MarkovChain,
    TifuKnn,
    UpCf,
    choose,
)
from itememb_core.users.baselines.selection import JUDGES
from itememb_core.users.items import ItemSpace
from itememb_core.users.ranking.choice import Choice, choose_ranker
from itememb_core.users.ranking.lists import make_lists
from itememb_core.users.ranking.parts import Parts, item_facts
from itememb_core.users.ranking.ranker import Alone, Ranker
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import Ends, ValidationSlice, sampled

#: What a ranking is made of beside the model's own scores; settings are chosen by the lake.
COUNTS: Final[tuple[Baseline, ...]] = (
    DecayedFrequency(),
    TifuKnn(),
    UpCf(),
    ItemKnn(),
    MarkovChain(),
    ChannelPopularity(),
)

#: Names of the model's own scores: of the towers, and of a sequence model beside them.
TOWERS, SEQUENCE = "two_towers", "sequence"

#: The model's own order, where there is nothing to choose by.
ALONE: Final = Ranker((TOWERS,), TOWERS, Alone(TOWERS))

#: Users of the validation slice whose lists an order learns from, at most.
LEARNED_FROM: Final = 3000


@dataclass(frozen=True)
class Ranking:
    """What was chosen.

    Attributes:
        counts: Parts that count, with their settings, by name.
        choice: The order, and what it was chosen among.
    """

    counts: Mapping[str, Baseline]
    choice: Choice


def fit_ranking(
    networks: Mapping[str, Fitted],
    packed: PackedHistories,
    items: ItemSpace,
    held: ValidationSlice,
    seed: int,
    progress: Progress = silent,
) -> Ranking:
    """Choose the settings of the parts, then the order of what they find.

    Args:
        networks: The model's own scores by name, ``TOWERS`` first; they have seen nothing after
            the slice's ends.
        packed: All histories, those of the slice, too.
        items: Targets.
        held: The validation slice.
        seed: Of samples and fits.
        progress: Called after each part.
    """
    if not held.users:
        return Ranking({}, Choice(ALONE, (), TOWERS))
    judges, counts = sampled(held, JUDGES, seed), {}
    for number, each in enumerate(COUNTS):
        counts[each.name] = choose(each, packed, items, judges).baseline
        progress("parts of the ranking", number + 1, len(COUNTS))
    parts = parts_of(networks, counts, packed, items, held.ends)
    lists = make_lists(parts, packed, sampled(held, LEARNED_FROM, seed), seed)
    choice = choose_ranker(lists, parts.names, seed)
    ranker = replace(choice.ranker, repeats=held.repeats)
    return Ranking(counts, replace(choice, ranker=ranker))


def parts_of(
    networks: Mapping[str, Fitted],
    counts: Mapping[str, Baseline],
    packed: PackedHistories,
    items: ItemSpace,
    ends: Ends | None = None,
) -> Parts:
    """Parts fitted to histories, up to their ends where there are any."""
    fitted = {name: each.fit(packed, items, ends) for name, each in counts.items()}
    return Parts(networks, fitted, item_facts(packed, ends))
