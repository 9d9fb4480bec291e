"""What a search and a fit will do, from counts and stated rates, before anything runs."""

from dataclasses import dataclass
from typing import Final

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.search.strategies import STRATEGIES, Strategy

#: Events a second of a fit at length 64, two blocks, 1,000 negatives, on two cores: stated, so that
#: a plan is the same on every machine; ``tests.bench.sequence_epoch`` measures it.
EVENTS_A_SECOND: Final = {"transformer": 25_000, "gru": 30_000}

#: Share of the budget for the search; the rest is the fit's.
SEARCH_SHARE: Final = 0.4

#: Steps that tell strategies apart at least: fewer than this, and fewer are tried.
LEAST_STEPS: Final = 100

#: Passes over the histories after which no fit goes on, however much time there is.
MOST_PASSES: Final = 200


@dataclass(frozen=True)
class Rung:
    """One round: how many strategies are fitted, and for how many steps of ``batch_events``."""

    strategies: int
    steps: int


@dataclass(frozen=True)
class Plan:
    """What is going to be done.

    Attributes:
        strategies: Those that are tried.
        rungs: Rounds; none where one strategy alone is there.
        fit_steps: Most steps of the winner's fit; 0: the budget is too small for any.
        step_seconds: What a step should take, the slowest strategy's by its stated rate.
    """

    strategies: tuple[Strategy, ...]
    rungs: tuple[Rung, ...]
    fit_steps: int
    step_seconds: float

    @property
    def seconds(self) -> float:
        """What all of it should take."""
        search = sum(rung.strategies * rung.steps for rung in self.rungs)
        return self.step_seconds * (search + self.fit_steps)


def rate(settings: SequenceSettings) -> float:
    """Events a second of a fit with these settings, by the stated rate."""
    size = settings.dim / 64 * (settings.blocks / 2 if settings.encoder == "transformer" else 1.0)
    return EVENTS_A_SECOND[settings.encoder] / max(size, 0.25)


def plan_of(
    minutes: float,
    settings: SequenceSettings,
    events: int,
    strategies: tuple[Strategy, ...] = STRATEGIES,
) -> Plan:
    """Successive halving that fits the budget (Jamieson and Talwalkar 2016).

    Every round takes the same time: half as many strategies, twice as many steps. As many
    strategies begin, a power of two and the first ones, as have ``LEAST_STEPS`` in the first round.
    No fit is longer than ``MOST_PASSES``.

    Args:
        minutes: ``budget_minutes``.
        settings: What strategies change.
        events: Of all histories.
        strategies: All, or one that is pinned.
    """
    seconds = 60.0 * minutes
    most = MOST_PASSES * -(-events // settings.batch_events)
    count = 1 << (len(strategies).bit_length() - 1)
    while count > 1:
        rounds, a_step = count.bit_length() - 1, _step_seconds(settings, strategies[:count])
        first = int(SEARCH_SHARE * seconds / (rounds * count) / a_step)
        if first >= LEAST_STEPS:
            rungs = tuple(Rung(count >> n, min(first << n, most)) for n in range(rounds))
            steps = int((1 - SEARCH_SHARE) * seconds / a_step)
            return Plan(strategies[:count], rungs, min(steps, most), a_step)
        count //= 2
    a_step = _step_seconds(settings, strategies[:1])
    steps = int(seconds / a_step)
    return Plan(strategies[:1], (), min(steps, most) if steps >= LEAST_STEPS else 0, a_step)


def _step_seconds(settings: SequenceSettings, strategies: tuple[Strategy, ...]) -> float:
    """Seconds of a step of the slowest."""
    return settings.batch_events / min(rate(each.applied(settings)) for each in strategies)
