"""Brute-force reference of the relational stages: plain Python over lists of rows.

Written from the laws alone, slow on purpose, and shares no code with the package.
"""

from collections import Counter, defaultdict
from datetime import date, datetime, time, timedelta
from itertools import combinations, groupby, pairwise
from math import floor, sqrt
from typing import NamedTuple

CHANNELS = ("receipts", "retail", "marketplace", "offers")
DAY = timedelta(days=1)


class Event(NamedTuple):
    """A clean row, as far as edges look at it."""

    timestamp: datetime
    user_id: int
    item_id: str
    channel: str
    strength: int
    transaction_hash: str | None
    source_row: int

    @property
    def day(self) -> date:
        return self.timestamp.date()


def copurchase(events, cap):
    """Rows (day, channel, item_a, item_b, weight, n)."""
    baskets = defaultdict(Counter)
    for event in events:
        if event.channel == "receipts" and event.strength > 0:
            key = (event.day, event.user_id, event.transaction_hash or "")
            baskets[key][event.item_id] += 1
    weights, counts = Counter(), Counter()
    for (day, _, _), lines in baskets.items():
        kept = sorted(lines, key=lambda item: (-lines[item], item))[:cap]
        for a, b in combinations(sorted(kept), 2):
            weights[day, "receipts", a, b] += 2**20 // len(kept)
            counts[day, "receipts", a, b] += 1
    return sorted((*key, weight, counts[key]) for key, weight in weights.items())


def chains(events, gap):
    """Split one user's events of a channel, in order, at gaps longer than ``gap``."""
    parts = [[events[0]]]
    for before, after in pairwise(events):
        if after.timestamp - before.timestamp > gap:
            parts.append([])
        parts[-1].append(after)
    return parts


def is_cut(events, midnight, gap):
    """Whether no gap longer than ``gap`` has both ends in [midnight - 24 h, midnight]."""
    start = midnight - DAY
    ends = [start] + [e.timestamp for e in events if start <= e.timestamp <= midnight]
    return all(after - before <= gap for before, after in pairwise(ends))


def sessions(events, gap):
    """Every session as (closing day, its events), from the whole history."""
    found = []
    catalog = sorted((e for e in events if e.channel != "receipts"), key=_by_user)
    for _, group in groupby(catalog, key=lambda e: (e.user_id, e.channel)):
        own = list(group)
        for chain in chains(own, gap):
            rest = chain
            midnight = datetime.combine(chain[0].day + DAY, time())
            while rest and midnight <= rest[-1].timestamp + gap:
                before = [e for e in rest if e.timestamp < midnight]
                if before and is_cut(own, midnight, gap):
                    found.append(((midnight - DAY).date(), before))
                    rest = rest[len(before) :]
                midnight += DAY
            if rest:
                found.append(((rest[-1].timestamp + gap).date(), rest))
    return found


def _by_user(event):
    return (event.user_id, event.channel, event.timestamp, event.source_row)


def coview(events, cap, gap):
    """Rows (day, channel, item_a, item_b, weight, n)."""
    weights, counts = Counter(), Counter()
    for day, session in sessions(events, gap):
        strength, first = Counter(), {}
        for event in session:
            strength[event.item_id] = max(strength[event.item_id], event.strength)
            first.setdefault(event.item_id, event.timestamp)
        made = [item for item in strength if strength[item] > 0]
        kept = sorted(made, key=lambda item: (-strength[item], first[item], item))[:cap]
        for a, b in combinations(sorted(kept), 2):
            key = (day, session[0].channel, a, b)
            weights[key] += min(strength[a], strength[b]) * (2**20 // len(kept))
            counts[key] += 1
    return sorted((*key, weight, counts[key]) for key, weight in weights.items())


def user_items(events):
    """Rows (day, user_id, channel, item_id, n, strength)."""
    rows = defaultdict(list)
    for event in events:
        rows[event.day, event.user_id, event.channel, event.item_id].append(event.strength)
    return sorted((*key, len(found), max(found)) for key, found in rows.items())


def by_month(*edges):
    """Rows (month, channel, item_a, item_b, weight, n)."""
    weights, counts = Counter(), Counter()
    for day, channel, a, b, weight, n in (row for part in edges for row in part):
        weights[f"{day:%Y-%m}", channel, a, b] += weight
        counts[f"{day:%Y-%m}", channel, a, b] += n
    return sorted((*key, weight, counts[key]) for key, weight in weights.items())


def bridge(rows, window_days, partners):
    """Rows (channel_a, item_a, channel_b, item_b, weight, n)."""
    bags = defaultdict(lambda: defaultdict(set))
    for day, user, channel, item, _, strength in rows:
        if strength > 0:
            window = (day - date(1970, 1, 1)).days // window_days
            bags[user, window][CHANNELS.index(channel)].add(item)
    weights, counts = Counter(), Counter()
    for bag in bags.values():
        for a, b in combinations(sorted(bag), 2):
            weight = floor(2**20 / sqrt(len(bag[a]) * len(bag[b])))
            for item_a in bag[a]:
                for item_b in bag[b]:
                    weights[CHANNELS[a], item_a, CHANNELS[b], item_b] += weight
                    counts[CHANNELS[a], item_a, CHANNELS[b], item_b] += 1
    kept = _best(weights, partners, end=(0, 1), partner=(2, 3))
    kept |= _best(weights, partners, end=(2, 3), partner=(0, 1))
    return sorted((*key, weights[key], counts[key]) for key in kept)


def _best(weights, partners, end, partner):
    """Keys among the best of their ``end`` item within the partner's channel."""
    lists = defaultdict(list)
    for key, weight in weights.items():
        group = (key[end[0]], key[end[1]], key[partner[0]])
        lists[group].append((-weight, key[partner[1]], key))
    return {key for found in lists.values() for _, _, key in sorted(found)[:partners]}
