"""Cleaning of event rows: canonical actions, and a reason for every row that is not kept.

Every raw row comes out once, with ``reason`` null or not, so nothing can be lost in between. What
does not belong here: reading files, merging the catalog.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from string import ascii_lowercase, ascii_uppercase
from typing import Final, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core.errors import ItemembError
from itememb_core.raw.columns import not_finite
from itememb_core.raw.reader import RAW_EVENTS, conform
from itememb_core.schemas import EVENTS
from itememb_core.services import (
    ALIASES,
    CATALOG_CHANNELS,
    PROCESSED,
    RECEIPTS,
    STRENGTHS,
    UNKNOWN_STRENGTH,
    UNNAMED,
)
from itememb_core.settings import DomainSettings
from itememb_core.tables.domains import domain_of

TIMESTAMP_MISSING: Final = "timestamp_missing"
TIMESTAMP_OUTSIDE_DAY: Final = "timestamp_outside_day"
ID_OUT_OF_RANGE: Final = "id_out_of_range"
USER_ID_MISSING: Final = "user_id_missing"
ITEM_ID_MISSING: Final = "item_id_missing"
ITEM_ID_OTHER_DOMAIN: Final = "item_id_other_domain"
PRICE_NOT_FINITE: Final = "price_not_finite"
COUNT_NOT_POSITIVE: Final = "count_not_positive"
DUPLICATE_EVENT: Final = "duplicate_event"

#: All reasons, in the order in which they are tried; the first that applies is the row's.
REASONS: Final = (
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_DAY,
    ID_OUT_OF_RANGE,
    USER_ID_MISSING,
    ITEM_ID_MISSING,
    ITEM_ID_OTHER_DOMAIN,
    PRICE_NOT_FINITE,
    COUNT_NOT_POSITIVE,
    DUPLICATE_EVENT,
)

#: Schema of the ``<asset>_rejected`` tables.
REJECTED: Final = EVENTS.append(pa.field("reason", pa.string()))

#: The action of a receipt line.
PURCHASE: Final = "purchase"

#: Most unknown words that are counted by name.
_WORDS: Final = 20

_WITH_REASON: Final = pa.schema([*EVENTS, ("day", pa.date32()), ("reason", pa.string())])
#: Where a row comes from; orders the rows of a table totally.
SOURCE: Final = ("source_file", "source_row")
_NEEDED: Final = ("timestamp", "user_id", "item_id", "file_day", *SOURCE)


def clean_events(raw_rows: ir.Table, channel: str, domains: DomainSettings) -> ir.Table:
    """Validate raw event rows: all of them come out, each once.

    Args:
        raw_rows: Columns of :data:`itememb_core.raw.RAW_EVENTS`; one that is not there is null.
            ``timestamp``, ``user_id``, ``item_id``, ``file_day`` and the source must be.
        channel: Where the rows were observed.
        domains: Item id prefixes.

    Returns:
        Columns of :data:`itememb_core.schemas.EVENTS`, ``day`` (the day the file claims) and
        ``reason``: null for a clean row, else the first of :data:`REASONS` that applies.
        ``status`` is what was known of an order by the end of its day, see :func:`_known_status`.

    Raises:
        ItemembError: A needed column is missing.
    """
    missing = [name for name in _NEEDED if name not in raw_rows.columns]
    if missing:
        found, also = ", ".join(raw_rows.columns), ", ".join(missing)
        raise ItemembError(f"raw rows of {channel}: found {found}, expected also {also}")
    rows = conform(raw_rows, RAW_EVENTS)
    action = _canonical(rows.action) if channel != RECEIPTS else ibis.literal(PURCHASE)
    rows = rows.mutate(
        day=rows.file_day,
        channel=ibis.literal(channel),
        domain=domain_of(rows.item_id, domains),
        action=action,
        status=_known_status(rows),
    )
    word = ibis.coalesce(rows.status, rows.action)
    strengths = [(word == name, strength) for name, strength in STRENGTHS.items()]
    rows = rows.mutate(
        strength=ibis.cases(*strengths, else_=UNKNOWN_STRENGTH),
        reason=_first_reason(rows, channel),
    )
    if channel in CATALOG_CHANNELS:
        rows = _mark_duplicates(rows)
    return conform(rows, _WITH_REASON)


def split_clean(cleaned: ir.Table) -> ir.Table:
    """The kept rows: columns of :data:`itememb_core.schemas.EVENTS` and ``day``."""
    return cleaned.filter(cleaned.reason.isnull()).drop("reason")


def split_rejected(cleaned: ir.Table) -> ir.Table:
    """The other rows, whole: columns of :data:`REJECTED` and ``day``."""
    return cleaned.filter(cleaned.reason.notnull())


def day_counts(cleaned: ir.Table) -> ir.Table:
    """Rows by ``day``, ``source_file`` and ``reason`` (null: clean), as ``n`` (int64)."""
    return cleaned.group_by("day", "source_file", "reason").agg(n=lambda rows: rows.count())


def epoch_errors(counts: pa.Table, epoch: date) -> dict[date, ItemembError]:
    """Days with a file whose rows are all outside its day: the epoch or the name is wrong.

    Args:
        counts: Columns of :func:`day_counts`.
        epoch: Day number 0 and duration 0, as the scan has it.

    Returns:
        The days, each with an error that names file and epoch; such a day is not to be written.
    """
    files: dict[tuple[date, str], dict[str | None, int]] = {}
    for row in counts.select(["day", "source_file", "reason", "n"]).to_pylist():
        files.setdefault((row["day"], row["source_file"]), {})[row["reason"]] = row["n"]
    bad = {}
    for (day, file), reasons in sorted(files.items()):
        outside = reasons.get(TIMESTAMP_OUTSIDE_DAY, 0)
        if outside and outside + reasons.get(TIMESTAMP_MISSING, 0) == sum(reasons.values()):
            bad[day] = ItemembError(
                f"{file}: all {outside} timestamps are outside {day}, expected rows of that day "
                f"(epoch {epoch}; set ITEMEMB_EPOCH if day 0 is another date)"
            )
    return bad


def count_unknown(rows: pa.Table) -> Counter[str]:
    """Actions and statuses of clean rows that have no strength of their own, with their rows.

    Args:
        rows: Columns ``action`` and ``status`` of clean events.

    Returns:
        ``action teleport`` or ``status lost`` to rows.
    """
    found: Counter[str] = Counter()
    for column in ("action", "status"):
        for entry in rows[column].value_counts().to_pylist():
            if entry["values"] is not None and entry["values"] not in STRENGTHS:
                found[f"{column} {entry['values']}"] = entry["counts"]
    return found


def most_frequent(words: Mapping[str, int]) -> dict[str, int]:
    """The ``20`` most frequent words with their rows; beyond them, ``other``."""
    ranked = sorted(words, key=lambda word: (-words[word], word))
    other = sum(words[word] for word in ranked[_WORDS:])
    return {word: words[word] for word in ranked[:_WORDS]} | ({"other": other} if other else {})


def _known_status(rows: ir.Table) -> ir.StringValue:
    """The status that an order had by the end of its own day; null for rows without statuses.

    A file has the *last* status of an order, and that may have come weeks later. A backtest that
    is cut between the order and its cancelation must not know of it, and days are made once, for
    every cut. So a row holds only what was known on its own day: a status that came later, or
    nobody knows when, is not in the table, and the order counts as it did then, as
    :data:`~itememb_core.services.PROCESSED`. The same holds for the final fit, which repeats what
    was evaluated. The price: an order canceled on a later day makes pairs, as a sign of interest.
    """
    known = rows.status_timestamp.cast("date") <= rows.file_day
    status = ibis.cases(
        (rows.status.isnull(), None),
        (known, _canonical(rows.status)),
        else_=PROCESSED,
    )
    return cast(ir.StringValue, status.cast("string"))


def _canonical(word: ir.Value) -> ir.StringValue:
    """Lower case, one spelling; an action or status that is null or empty is :data:`UNNAMED`."""
    # ASCII alone: engines know different versions of Unicode.
    lower = cast(ir.StringValue, word).translate(ascii_uppercase, ascii_lowercase).strip()
    branches = [(lower == alias, name) for alias, name in ALIASES.items()]
    unnamed = lower.isnull() | (lower == "")
    rest = ibis.cases((unnamed, UNNAMED), *branches, else_=lower)
    # Nearly every word is spelled as it should be, and translating all of them took half the time.
    usual = {**{name: name for name in STRENGTHS}, **ALIASES}
    known = [(word == spelled, name) for spelled, name in usual.items()]
    return cast(ir.StringValue, ibis.cases(*known, else_=rest))


def _first_reason(rows: ir.Table, channel: str) -> ir.StringValue:
    """The first rule that a row breaks by itself."""
    item = cast(ir.StringValue, rows.item_id)
    price, count = rows.price, cast(ir.FloatingValue, rows["count"])
    other_domain = (rows.domain != channel) if channel != RECEIPTS else ibis.literal(False)
    rules = {
        TIMESTAMP_MISSING: rows.timestamp.isnull(),
        TIMESTAMP_OUTSIDE_DAY: rows.timestamp.cast("date") != rows.day,
        ID_OUT_OF_RANGE: rows.id_out_of_range,
        USER_ID_MISSING: rows.user_id.isnull(),
        ITEM_ID_MISSING: item.isnull() | (item.strip() == ""),
        ITEM_ID_OTHER_DOMAIN: other_domain,
        PRICE_NOT_FINITE: not_finite(price),
        COUNT_NOT_POSITIVE: not_finite(count) | (count <= 0),
    }
    return first_reason({reason: rules[reason] for reason in REASONS if reason in rules})


def first_reason(rules: Mapping[str, ir.Value]) -> ir.StringValue:
    """The first reason, in order, whose condition holds (null does not); null for none."""
    branches = [(broken, reason) for reason, broken in rules.items()]
    return cast(ir.StringValue, ibis.cases(*branches, else_=None).cast("string"))


def _mark_duplicates(rows: ir.Table) -> ir.Table:
    """Of rows equal in everything but their source, all but the first get a reason."""
    names = [name for name in EVENTS.names if name not in SOURCE]
    return mark_duplicates(rows, ["day", *names, "status_timestamp"])


def mark_duplicates(rows: ir.Table, keys: Sequence[str]) -> ir.Table:
    """Of rows equal in ``keys`` all but the first of their source get a ``reason``."""
    nth = ibis.row_number().over(group_by=list(keys), order_by=list(SOURCE))
    repeated = (nth > 0).ifelse(DUPLICATE_EVENT, ibis.null())
    return rows.mutate(reason=ibis.coalesce(rows.reason, repeated))
