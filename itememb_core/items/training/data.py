"""Training data of the item model: arrays of nodes made from the edge and bag tables."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import UNKNOWN, channel_codes, node_counts, node_index
from itememb_core.services import CHANNELS
from itememb_core.settings import ItemModelSettings

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Pairs:
    """Within-channel pairs; all arrays ``[pairs]``."""

    a: np.ndarray  # int32, node
    b: np.ndarray  # int32, node
    channel: np.ndarray  # int8, position in CHANNELS
    weight: np.ndarray  # float32, decayed, of any scale

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.a)


@dataclass(frozen=True)
class Bags:
    """Interactions by user and day, ordered by channel, user, day, node; arrays ``[entries]``."""

    user: np.ndarray  # int32, from 0 without gaps
    day: np.ndarray  # int32, days since 1970-01-01
    channel: np.ndarray  # int8, position in CHANNELS
    node: np.ndarray  # int32

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.user)

    def before(self, day: int) -> "Bags":
        """The entries of days before one."""
        keep = self.day < day
        return Bags(self.user[keep], self.day[keep], self.channel[keep], self.node[keep])


@dataclass(frozen=True)
class TrainingData:
    """Everything a fit sees.

    ``bags`` holds all days; those from ``validation_from`` on (days since 1970-01-01) are not
    trained on. ``validation_from`` is None where the fit trains on everything.
    """

    counts: np.ndarray  # int64 [nodes, channels]
    pairs: Pairs
    bags: Bags
    validation_pairs: Pairs
    validation_from: int | None

    @property
    def nodes(self) -> int:
        """Rows of the vocabulary."""
        return len(self.counts)

    @property
    def training_bags(self) -> Bags:
        """Bags of the days that are trained on."""
        return self.bags if self.validation_from is None else self.bags.before(self.validation_from)

    def without_bridge(self) -> "TrainingData":
        """The same data with no bags: the control that cannot align the channels."""
        empty = np.empty(0, np.int32)
        return replace(self, bags=Bags(empty, empty, np.empty(0, np.int8), empty))


def training_data(
    vocabulary: pa.Table,
    edges: pa.Table,
    user_items: pa.Table,
    *,
    settings: ItemModelSettings,
    last_day: date,
    recent_edges: pa.Table | None = None,
) -> TrainingData:
    """Turn the lake's tables into arrays of nodes; items of strength 0 make no pair.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        edges: ``month`` (``YYYY-MM``) and ``schemas.EDGES``, nothing after ``last_day``.
        user_items: ``day`` and ``schemas.USER_ITEMS``, nothing after ``last_day``.
        settings: Half-life and validation days.
        last_day: Last day that this fit may see.
        recent_edges: ``day`` and ``schemas.EDGES`` of at least the last ``validation_days``. Given,
            those days become the validation slice, exactly taken out of ``edges``; None: none.

    Raises:
        ItemembError: If weights are null, negative or not finite, an item is not in the
            vocabulary, rows lie after ``last_day``, or ``recent_edges`` is no part of ``edges``.
    """
    pairs, validation = pairs_of(
        vocabulary, edges, settings=settings, last_day=last_day, recent_edges=recent_edges
    )
    validated = recent_edges is not None and settings.validation_days > 0
    return TrainingData(
        counts=node_counts(vocabulary),
        pairs=pairs,
        bags=_bags(vocabulary, user_items, last_day),
        validation_pairs=validation,
        validation_from=_day_number(_first_validated(settings, last_day)) if validated else None,
    )


def pairs_of(
    vocabulary: pa.Table,
    edges: pa.Table,
    *,
    settings: ItemModelSettings,
    last_day: date,
    recent_edges: pa.Table | None = None,
) -> tuple[Pairs, Pairs]:
    """Pairs to train on and those of the validation days; see :func:`training_data`."""
    months = _months(edges["month"], last_day)
    columns = _edge_columns(vocabulary, edges, "edges")
    validation = _no_pairs()
    if recent_edges is not None and settings.validation_days > 0:
        first = _first_validated(settings, last_day)
        columns, validation = _take_out(vocabulary, columns, months, recent_edges, first)
    age = _day_number(last_day) - _middle_of(months)
    decay = np.exp2(-np.maximum(age, 0) / settings.half_life_days)
    return _pairs(columns, decay), validation


def _first_validated(settings: ItemModelSettings, last_day: date) -> date:
    return last_day - timedelta(days=settings.validation_days - 1)


def _take_out(
    vocabulary: pa.Table,
    columns: "_EdgeColumns",
    months: np.ndarray,
    recent_edges: pa.Table,
    first: date,
) -> "tuple[_EdgeColumns, Pairs]":
    """Return the edges without the days from ``first`` on, and those days' pairs."""
    recent = recent_edges.filter(pc.greater_equal(recent_edges["day"], pa.scalar(first)))
    taken = _edge_columns(vocabulary, recent, "recent edges")
    rest = _subtract(columns, months, taken, _month_of_days(recent["day"]))
    return rest, _pairs(taken, np.ones(recent.num_rows, np.float32))


@dataclass(frozen=True)
class _EdgeColumns:
    a: np.ndarray
    b: np.ndarray
    channel: np.ndarray
    weight: np.ndarray  # float64 or int64, as in the table


def _edge_columns(vocabulary: pa.Table, edges: pa.Table, name: str) -> _EdgeColumns:
    a = node_index(vocabulary, edges["item_a"], edges["channel"])
    b = node_index(vocabulary, edges["item_b"], edges["channel"])
    for column, nodes in (("item_a", a), ("item_b", b)):
        _check_known(edges[column], nodes, f"{name}.{column}")
    return _EdgeColumns(a, b, channel_codes(edges["channel"]), _weights(edges["weight"], name))


def _weights(column: pa.ChunkedArray, name: str) -> np.ndarray:
    if column.null_count:
        raise ItemembError(f"{name}.weight: found null, expected a finite number of 0 or more")
    weights = column.to_numpy()
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(wrong):
        raise ItemembError(
            f"{name}.weight: found {weights[wrong[0]]}, expected a finite number of 0 or more"
        )
    return weights


def _check_known(items: pa.ChunkedArray, nodes: np.ndarray, name: str) -> None:
    unknown = np.flatnonzero(nodes == UNKNOWN)
    if len(unknown):
        found = items[int(unknown[0])].as_py()
        raise ItemembError(f"{name}: found {found!r}, expected only items of the vocabulary")


def _pairs(columns: _EdgeColumns, decay: np.ndarray) -> Pairs:
    weight = (columns.weight * decay).astype(np.float32)
    keep = (weight > 0) & (columns.a != columns.b)
    return Pairs(columns.a[keep], columns.b[keep], columns.channel[keep], weight[keep])


def _no_pairs() -> Pairs:
    empty = np.empty(0, np.int32)
    return Pairs(empty, empty, np.empty(0, np.int8), np.empty(0, np.float32))


def _subtract(
    columns: _EdgeColumns, months: np.ndarray, taken: _EdgeColumns, taken_months: np.ndarray
) -> _EdgeColumns:
    """Take single days out of monthly sums; only the months of those days are searched."""
    if not len(taken.a):
        return columns
    first = taken_months.min()
    rows = np.flatnonzero(months >= first)
    nodes = np.int64(max(columns.a.max(initial=0), columns.b.max(initial=0)) + 1)

    def keys(edges: _EdgeColumns, month: np.ndarray) -> np.ndarray:
        group = (month - first).astype(np.int64) * len(CHANNELS) + edges.channel
        return (group * nodes + edges.a) * nodes + edges.b

    part = _EdgeColumns(
        columns.a[rows], columns.b[rows], columns.channel[rows], columns.weight[rows]
    )
    have, order = np.unique(keys(part, months[rows]), return_index=True)
    want = keys(taken, taken_months)
    place = np.minimum(np.searchsorted(have, want), max(len(have) - 1, 0))
    if not len(have) or (have[place] != want).any():
        raise ItemembError("recent edges: found a pair that edges lacks, expected a part of edges")
    weight = columns.weight.copy()
    np.subtract.at(weight, rows[order[place]], taken.weight)
    if weight.min() < 0:
        raise ItemembError("recent edges: found more weight than edges has, expected a part of it")
    return replace(columns, weight=weight)


def _bags(vocabulary: pa.Table, user_items: pa.Table, last_day: date) -> Bags:
    kept = user_items.filter(pc.greater(user_items["strength"], 0))
    node = node_index(vocabulary, kept["item_id"], kept["channel"])
    _check_known(kept["item_id"], node, "user_items.item_id")
    day = kept["day"].cast(pa.date32()).cast(pa.int32()).to_numpy()
    if len(day) and day.max() > _day_number(last_day):
        found = _EPOCH + timedelta(days=int(day.max()))
        raise ItemembError(f"user_items.day: found {found}, expected none after {last_day}")
    user = np.unique(kept["user_id"].to_numpy(), return_inverse=True)[1].astype(np.int32)
    channel = channel_codes(kept["channel"])
    order = np.lexsort((node, day, user, channel))
    return Bags(user[order], day[order], channel[order], node[order])


def _months(column: pa.ChunkedArray, last_day: date) -> np.ndarray:
    """Months since 1970-01 of ``YYYY-MM`` strings, int32 ``[rows]``."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if not len(encoded):
        return np.empty(0, np.int32)
    numbers = [_month_number(text) for text in encoded.dictionary.to_pylist()]
    months = np.array(numbers, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)]
    last = (last_day.year - 1970) * 12 + last_day.month - 1
    if len(months) and months.max() > last:
        raise ItemembError(f"edges.month: found a month after {last_day}, expected none")
    return months


def _month_number(text: str) -> int:
    try:
        first = date.fromisoformat(f"{text}-01")
    except (TypeError, ValueError):
        raise ItemembError(f"edges.month: found {text!r}, expected YYYY-MM") from None
    return (first.year - 1970) * 12 + first.month - 1


def _month_of_days(days: pa.ChunkedArray) -> np.ndarray:
    as_months = days.to_numpy().astype("datetime64[M]")
    return as_months.astype(np.int32)


def _middle_of(months: np.ndarray) -> np.ndarray:
    """Day number of the 15th of each month."""
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    return first.astype(np.int32) + 14


def _day_number(day: date) -> int:
    return (day - _EPOCH).days
