"""Nine figures of how popular an item is, over all channels and in each.

Counts are those of the vocabulary's nodes, so a held-out match's two sides know nothing of each
other. Variants of one model (``group_id``) are one unit: their counts add up, and each variant has
the unit's figures.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple, cast

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.edges.pairs import int64
from itememb_core.items.vocabulary import channel_codes, node_index
from itememb_core.schemas import POPULARITY_FEATURES
from itememb_core.schemas.features import EVERY_CHANNEL, FIGURES
from itememb_core.services import CHANNELS, RETAIL

#: Days at the end that the trend compares with all before: four weeks, so that weekdays balance.
TREND_DAYS: Final = 28

#: Shares of all interactions that head, and head and torso, hold: the A, B and C of ABC analysis.
HEAD_MASS, TORSO_MASS = 0.80, 0.95
TAIL, TORSO, HEAD = 0, 1, 2


_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ZipfFit:
    """A channel's rank-frequency line: ``ln n = intercept - exponent * ln rank``.

    Least squares over the units with an interaction; tied units have their mean rank.

    Attributes:
        exponent: Zipf's exponent; 0 where fewer than two ranks differ.
        intercept: Natural logarithm of the count at rank 1.
        r2: Share of the log counts' variance that the line explains.
        units: How many units have an interaction.
    """

    exponent: float
    intercept: float
    r2: float
    units: int


class PopularityFeatures(NamedTuple):
    """The table (``schemas.POPULARITY_FEATURES``) and each channel's fitted line."""

    table: pa.Table
    zipf: dict[str, ZipfFit]


class _Counts(NamedTuple):
    """Interactions of units, recent ones, and the last day as days before the end; [units]."""

    n: _Ints
    recent: _Ints
    age: _Ints

    def of(self, units: NDArray[np.bool_]) -> "_Counts":
        """Those of some units."""
        return _Counts(self.n[units], self.recent[units], self.age[units])


def interaction_counts(user_items: ir.Table, last_day: date) -> ir.Table:
    """Count interactions by item and channel: item_id, channel, n, recent, last.

    Args:
        user_items: ``schemas.USER_ITEMS`` with ``day``, of the days that may be seen.
        last_day: The last of them; ``recent`` counts those of the ``TREND_DAYS`` that end with it.
    """
    since = ibis.literal(last_day - timedelta(days=TREND_DAYS - 1))
    n = cast(ir.IntegerColumn, user_items.n)
    grouped = user_items.group_by("item_id", "channel")
    return grouped.agg(
        n=int64(n.sum()),
        recent=int64(n.sum(where=user_items.day >= since).fill_null(0)),
        last=cast(ir.DateColumn, user_items.day).max(),
    )


def popularity_features(
    vocabulary: pa.Table, counts: pa.Table, groups: pa.Table, first_day: date, last_day: date
) -> PopularityFeatures:
    """Return the nine figures of every node, and of its interactions in each channel.

    With ``n`` a unit's interactions in the channel, over the units that have any there (over all
    channels: over every unit):

    * ``log_count``: ln(1 + n);
    * ``share``: n / sum of n;
    * ``rank``: 0 for the most popular to 1 for the least; tied units have their mean rank;
    * ``log_count_z``: (log_count - mean) / standard deviation of units with an interaction;
    * ``zipf_residual``: ln n less the fitted line (:class:`ZipfFit`); 0 without an interaction;
    * ``tailness``: share of all interactions that lies with units less popular than it;
    * ``segment``: 2 head, 1 torso, 0 tail: the units above it hold less than 80 %, 95 %, or more
      of all interactions;
    * ``trend``: ln((recent + 1) / (expected + 1)), expected: the earlier days' rate over as many
      days; 0 without earlier days;
    * ``recency``: days since the last interaction; without one, the days that were seen.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        counts: :func:`interaction_counts`; items that the vocabulary lacks do not count.
        groups: ``item_id`` and ``group_id`` (null: none) of catalog items.
        first_day: The first day seen.
        last_day: The last day seen.
    """
    units = _units(vocabulary, groups)
    by_channel = _by_unit(vocabulary, counts, units, last_day)
    span = (last_day - first_day).days + 1
    tables, zipf = [], {}
    for name, found in by_channel.items():
        # Over all channels every unit counts, in one only those that it knows.
        inside = (found.n > 0) | (name == EVERY_CHANNEL)
        if inside.any() or name == EVERY_CHANNEL:
            figures = np.zeros((len(inside), len(FIGURES)))
            figures[inside], zipf[name] = _figures(found.of(inside), span)
            rows = np.flatnonzero(inside[units])
            tables.append(_table(vocabulary, rows, name, figures[units[rows]]))
    return PopularityFeatures(pa.concat_tables(tables), zipf)


def _units(vocabulary: pa.Table, groups: pa.Table) -> _Ints:
    """Number of each node's unit [nodes]: its group's in its domain, else its own."""
    named_groups = pc.greater(pc.utf8_length(groups["group_id"].cast(pa.string())), 0)
    grouped = groups.filter(pc.fill_null(named_groups, False))
    member = node_index(vocabulary, grouped["item_id"], RETAIL)
    known = member >= 0
    domain = vocabulary["domain"].take(pa.array(member[known]))
    group = grouped["group_id"].filter(pa.array(known))
    named = pc.binary_join_element_wise(domain, group, "/").combine_chunks()
    units = np.arange(vocabulary.num_rows)
    units[member[known]] = len(units) + pc.rank(named, tiebreaker="dense").to_numpy()
    _, unit = np.unique(units, return_inverse=True)
    return np.asarray(unit, np.int64)


def _by_unit(
    vocabulary: pa.Table, counts: pa.Table, units: _Ints, last_day: date
) -> dict[str, _Counts]:
    """What each unit has in every channel, and over all."""
    node = node_index(vocabulary, counts["item_id"], counts["channel"])
    known = node >= 0
    channel, unit = channel_codes(counts["channel"])[known], units[node[known]]
    shape = (len(CHANNELS), int(units.max(initial=-1)) + 1)
    n, recent = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    np.add.at(n, (channel, unit), counts["n"].to_numpy()[known])
    np.add.at(recent, (channel, unit), counts["recent"].to_numpy()[known])
    age = np.full(shape, np.iinfo(np.int64).max)
    days = (np.datetime64(last_day) - counts["last"].to_numpy().astype("M8[D]")).astype(np.int64)
    np.minimum.at(age, (channel, unit), days[known])
    each = {name: _Counts(n[c], recent[c], age[c]) for c, name in enumerate(CHANNELS)}
    return {EVERY_CHANNEL: _Counts(n.sum(axis=0), recent.sum(axis=0), age.min(axis=0)), **each}


def _figures(counts: _Counts, span: int) -> tuple[_Floats, ZipfFit]:
    """The nine figures of one channel's units, float64 [units, 9], and its line."""
    n, total = counts.n, max(int(counts.n.sum()), 1)
    rank = mean_ranks(n)
    line = fit_zipf(n, rank)
    log_count, some = np.log1p(n), n > 0
    mean, deviation = (log_count[some].mean(), log_count[some].std()) if some.any() else (0.0, 0.0)
    below, above = _mass_below_and_above(n)
    with np.errstate(divide="ignore"):
        expected = line.intercept - line.exponent * np.log(rank)
        residual = np.where(some, np.log(n) - expected, 0.0)
    earlier = max(span - TREND_DAYS, 0)
    before = (n - counts.recent) * (min(TREND_DAYS, span) / earlier) if earlier else counts.recent
    columns = (
        log_count,
        n / total,
        (rank - 1.0) / max(len(n) - 1, 1),
        (log_count - mean) / deviation if deviation > 0 else np.zeros(len(n)),
        residual,
        below / total,
        np.where(above < HEAD_MASS * total, HEAD, np.where(above < TORSO_MASS * total, TORSO, TAIL))
        * some,
        np.log((counts.recent + 1.0) / (before + 1.0)),
        np.where(some, counts.age, span),
    )
    return np.stack(columns, axis=1).astype(np.float64), line


def mean_ranks(n: _Ints) -> _Floats:
    """Rank of each count from 1, the largest first; tied ones have their mean. float64 [n]."""
    _, inverse, size = np.unique(-n, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    return np.asarray((last - (size - 1) / 2.0)[inverse], np.float64)


def fit_zipf(n: _Ints, rank: _Floats) -> ZipfFit:
    """Fit ``ln n = intercept - exponent * ln rank`` over units with an interaction."""
    some = n > 0
    x, y = np.log(rank[some]), np.log(n[some])
    if not some.any() or np.ptp(x) == 0:
        return ZipfFit(0.0, float(y.mean()) if some.any() else 0.0, 0.0, int(some.sum()))
    slope, intercept = np.polyfit(x, y, 1)
    rest = ((y - intercept - slope * x) ** 2).sum()
    spread = ((y - y.mean()) ** 2).sum()
    r2 = float(1.0 - rest / spread) if spread > 0 else 0.0
    return ZipfFit(float(-slope), float(intercept), r2, int(some.sum()))


def _mass_below_and_above(n: _Ints) -> tuple[_Ints, _Ints]:
    """Interactions of units with fewer, and of units with more, than each; int64 [units]."""
    values, inverse, size = np.unique(n, return_inverse=True, return_counts=True)
    mass = values * size
    upto = np.cumsum(mass)
    total = int(upto[-1]) if len(upto) else 0
    return (upto - mass)[inverse], (total - upto)[inverse]


def _table(
    vocabulary: pa.Table, rows: NDArray[np.int64], channel: str, figures: _Floats
) -> pa.Table:
    chosen = vocabulary.select(["item_id", "side"]).take(pa.array(rows))
    columns = [
        *(column.combine_chunks() for column in chosen.columns),
        pa.array([channel] * chosen.num_rows, pa.string()),
        *(pa.array(column.astype(np.float32)) for column in figures.T),
    ]
    return pa.Table.from_arrays(columns, schema=POPULARITY_FEATURES)
