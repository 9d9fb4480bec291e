"""Checks that gate what follows: conservation, canonical edges, vectors, vocabulary, links."""

from collections.abc import Mapping
from typing import Any, Final

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.items.drift import DriftReport
from itememb_core.items.vectors import vectors
from itememb_core.links.enrich import gains
from itememb_core.settings import Settings
from itememb_core.tables import conservation_violations
from itememb_dagster.factory.check import Check, Verdict, check
from itememb_dagster.factory.stage import BACKTEST

#: Fewer held-out matches than this: quality checks warn and do not block.
ENOUGH_MATCHES: Final = 100
#: Share of true matches among the ten nearest by CSLS from which spaces are aligned in any case.
ALIGNED: Final = 0.05
#: Mean probability less share right that makes links worse than none.
GROSSLY_OFF: Final = 0.1
#: The same for users that are evaluated.
ENOUGH_USERS: Final = 100

#: A version whose items moved further from the one before: a warning.
LEAST_COSINE: Final = 0.4
LEAST_OVERLAP: Final = 0.2

BACKTEST_VECTORS: Final = {name: (BACKTEST, name) for name in ("item_embeddings", "vocabulary")}


@check(("raw_inventory",))
def conservation(raw_inventory: pa.Table) -> Verdict:
    """Raw rows = clean rows + rejected rows, for every file."""
    wrong = conservation_violations(raw_inventory)
    rows = pc.sum(raw_inventory["rows"]).as_py() or 0
    why = wrong[0] if wrong else f"{rows:,} rows of {raw_inventory.num_rows} files are all kept"
    return Verdict(not wrong, why, {"files": raw_inventory.num_rows, "wrong files": len(wrong)})


@check(("edges",), by_month=True)
def canonical_edges(edges: ir.Table) -> Verdict:
    """item_a < item_b, each pair once a channel and month, weights and counts positive."""
    pairs = edges.count().name("pairs")
    bad = (~(edges.item_a < edges.item_b) | (edges.weight <= 0) | (edges.n <= 0)).sum()
    facts = edges.agg(pairs=pairs, bad=bad.fill_null(0)).to_pyarrow().to_pylist()[0]
    repeated = edges.group_by(["channel", "item_a", "item_b"]).agg(times=edges.count())
    twice = repeated.filter(repeated.times > 1).count().to_pyarrow().as_py()
    passed = facts["bad"] == 0 and twice == 0
    why = f"{facts['pairs']:,} pairs, {facts['bad']} not canonical, {twice} repeated"
    counts = {"pairs": facts["pairs"], "not canonical": facts["bad"], "repeated": twice}
    return Verdict(passed, why, counts)


@check(("bridge_edges",))
def bridge_joins_two_channels(bridge_edges: ir.Table, settings: Settings) -> Verdict:
    """Every bridge pair joins two channels."""
    if not settings.bridge_edges.enabled:
        return Verdict(True, "no pairs: bridge_edges.enabled is off", {"pairs": 0})
    inside = bridge_edges.filter(bridge_edges.channel_a == bridge_edges.channel_b).count()
    rows, wrong = bridge_edges.count().to_pyarrow().as_py(), inside.to_pyarrow().as_py()
    return Verdict(wrong == 0, f"{rows:,} pairs, {wrong} inside one channel", {"pairs": rows})


def _vocabulary(vocabulary: pa.Table, link_holdout: pa.Table | None) -> Verdict:
    """Check indices, repeated nodes and, in the backtest, the two sides of held-out matches."""
    index = vocabulary["index"].to_numpy()
    ordered = bool((index == np.arange(len(index))).all())
    nodes = vocabulary.group_by(["item_id", "side"]).aggregate([])
    unique = nodes.num_rows == vocabulary.num_rows
    apart = vocabulary.filter(pc.equal(vocabulary["side"], "receipts"))
    held = set(link_holdout["item_id"].to_pylist()) if link_holdout is not None else set()
    foreign = [i for i in apart["item_id"].to_pylist() if i not in held]
    has_receipts = pc.greater(vocabulary["count_receipts"], 0)
    both = vocabulary.filter(
        pc.and_(
            pc.and_(pc.equal(vocabulary["side"], "all"), has_receipts),
            pc.is_in(vocabulary["item_id"], pa.array(sorted(held), pa.string())),
        )
    )
    passed = ordered and unique and not foreign and both.num_rows == 0
    why = (
        f"{len(index):,} nodes, {apart.num_rows} receipts sides of held-out matches, "
        f"{both.num_rows} held-out matches whose sides share a row"
    )
    return Verdict(passed, why, {"nodes": len(index), "held-out": apart.num_rows})


@check((BACKTEST, "vocabulary"), {"vocabulary": (BACKTEST, "vocabulary")})
def held_out_sides_apart(vocabulary: pa.Table, link_holdout: pa.Table) -> Verdict:
    """Nodes are indexed in order, and a held-out match's sides are two rows."""
    return _vocabulary(vocabulary, link_holdout)


@check(("vocabulary",))
def vocabulary_is_whole(vocabulary: pa.Table) -> Verdict:
    """Nodes are indexed in order, once each, and none is held out."""
    return _vocabulary(vocabulary, None)


def _unit_vectors(embeddings: pa.Table, vocabulary: pa.Table) -> Verdict:
    """Check shape, norm and finiteness of every vector."""
    dim = embeddings.schema.field("embedding").type.list_size
    rows = vectors(embeddings, unit=False)
    norms = np.linalg.norm(rows, axis=1)
    worst = float(np.abs(norms - 1).max(initial=0.0))
    finite = bool(np.isfinite(rows).all())
    same = embeddings.num_rows == vocabulary.num_rows
    why = (
        f"{embeddings.num_rows:,} vectors of {dim} for {vocabulary.num_rows:,} nodes, "
        f"norms within {worst:.1e} of 1"
    )
    return Verdict(finite and worst < 1e-3 and same, why, {"dim": dim, "worst norm": worst})


@check((BACKTEST, "item_embeddings"), BACKTEST_VECTORS)
def backtest_unit_vectors(item_embeddings: pa.Table, vocabulary: pa.Table) -> Verdict:
    """Every node has one finite vector of unit norm."""
    return _unit_vectors(item_embeddings, vocabulary)


@check(("item_embeddings",))
def unit_vectors(item_embeddings: pa.Table, vocabulary: pa.Table) -> Verdict:
    """Every node has one finite vector of unit norm."""
    return _unit_vectors(item_embeddings, vocabulary)


def _row(table: pa.Table, method: str, metric: str, part: str = "all") -> dict[str, Any] | None:
    for row in table.to_pylist():
        if (row["method"], row["metric"], row["slice"]) == (method, metric, part):
            return dict(row)
    return None


def _figure(table: pa.Table, method: str, metric: str, part: str = "all") -> float | None:
    row = _row(table, method, metric, part)
    return None if row is None else float(row["value"])


@check(("link_evaluation",))
def links_beat_chance(link_evaluation: pa.Table) -> Verdict:
    """The true match is top-1 more often than by chance and by popularity."""
    matches = _figure(link_evaluation, "held_out", "matches") or 0
    if not matches:
        return Verdict(True, "no held-out match to evaluate links on")
    fitted = _figure(link_evaluation, "scorer", "hit@1")
    ours = (_figure(link_evaluation, "csls", "hit@1") if fitted is None else fitted) or 0.0
    chance = _figure(link_evaluation, "random", "hit@1") or 0.0
    popular = _figure(link_evaluation, "channel_popularity", "hit@1") or 0.0
    why = (
        f"hit@1 {ours:.3f} on {matches:.0f} held-out matches; "
        f"random {chance:.5f}, popularity {popular:.5f}"
    )
    facts = {"hit@1": ours, "random": chance, "popularity": popular, "matches": matches}
    # Without a scorer nothing learned is accepted: no false link to stop.
    warn = matches < ENOUGH_MATCHES or fitted is None
    return Verdict(ours > max(10 * chance, popular), why, facts, warn=warn)


def _near_recall(counts: Mapping[str, Any], settings: Settings) -> Verdict:
    if "recall" not in counts:
        return Verdict(True, "no search: nothing to compare")
    found, wanted = counts["recall"], settings.link_pool.recall
    why = f"{counts['search']} search: recall of the exact ten {found:.4f}, wanted {wanted:g}"
    return Verdict(found >= wanted, why, {"recall": found}, warn=True)


@check((BACKTEST, "link_pool"), blocking=False)
def backtest_near_ones_are_found(counts: dict[str, Any], settings: Settings) -> Verdict:
    """The backtest's search by vectors finds the exact nearest, measured on a sample."""
    return _near_recall(counts, settings)


@check(("link_pool",), blocking=False)
def near_ones_are_found(counts: dict[str, Any], settings: Settings) -> Verdict:
    """The search by vectors finds the exact nearest, measured on a sample."""
    return _near_recall(counts, settings)


@check(("link_evaluation",), blocking=False)
def spaces_are_aligned(link_evaluation: pa.Table) -> Verdict:
    """Vectors of true matches on receipts and in the catalogs lie together: CSLS finds them."""
    if not _figure(link_evaluation, "held_out", "matches"):
        return Verdict(True, "no held-out match to measure alignment on", warn=True)
    row = _row(link_evaluation, "csls", "hit@10")
    found, low = (row["value"], row["low"]) if row else (0.0, 0.0)
    chance = _figure(link_evaluation, "random", "hit@10") or 0.0
    # Ten times chance is out of reach where there are few candidates.
    passed = low > chance and found > min(10 * chance, ALIGNED)
    state = "aligned" if passed else "not aligned: vectors of different channels are not comparable"
    why = f"the spaces are {state} (CSLS hit@10 {found:.3f}, random {chance:.5f})"
    return Verdict(passed, why, {"hit@10": found, "random": chance}, warn=True)


@check(("link_evaluation",))
def link_probabilities_hold(link_evaluation: pa.Table) -> Verdict:
    """Top-1 candidates are right as often as their probability predicts (bootstrap, 1 %).

    Links that are right more often than predicted cost coverage but are not false: of those
    accepted only overconfidence blocks.
    """
    gaps = {
        metric: row
        for metric in ("calibration", "calibration_accepted")
        if (row := _row(link_evaluation, "scorer", metric)) is not None
    }
    if not gaps:
        return Verdict(True, "no probability to evaluate")
    matches = _figure(link_evaluation, "held_out", "matches") or 0
    off = {name: row for name, row in gaps.items() if not row["low"] <= 0.0 <= row["high"]}
    gross = any(
        row["value"] > GROSSLY_OFF or (name == "calibration" and row["value"] < -GROSSLY_OFF)
        for name, row in off.items()
    )
    parts = (f"{n} {r['value']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]" for n, r in gaps.items())
    why = f"mean probability less share right: {', '.join(parts)}"
    facts = {name: row["value"] for name, row in gaps.items()}
    return Verdict(not off, why, facts, warn=not gross or matches < ENOUGH_MATCHES)


@check(("enriched_receipts",), {"receipts": ("receipts",)})
def every_line_enriched_once(enriched_receipts: ir.Table, receipts: ir.Table) -> Verdict:
    """Every receipt line is there once; how many, and how much spend, gain from the links.

    Days that other channels do not hold yet wait for them, and their lines with them.
    """
    found = gains(enriched_receipts).to_pyarrow().to_pylist()[0]
    own = receipts.semi_join(enriched_receipts.select("day").distinct(), "day")
    lines = own.count().to_pyarrow().as_py()
    names = ("linked", "category", "brand")
    facts = {f"lines, {n}": found[f"lines_{n}"] / max(found["lines"], 1) for n in names}
    if found["spend"] and found["least_price"] >= 0:
        facts |= {f"spend, {name}": found[f"spend_{name}"] / found["spend"] for name in names}
    shares = ", ".join(f"{name} {share:.3f}" for name, share in facts.items())
    why = f"{found['lines']:,} lines of {lines:,} receipt lines; shares: {shares}"
    return Verdict(found["lines"] == lines, why, facts)


@check(("item_evaluation",), blocking=False)
def goes_with_beats_popularity(item_evaluation: pa.Table) -> Verdict:
    """One item of a holdout basket given another: hit@20 above popularity of the channel."""
    ours = _figure(item_evaluation, "goes_with", "hit@20")
    popular = _figure(item_evaluation, "channel_popularity", "hit@20")
    if ours is None or popular is None:
        return Verdict(True, "no holdout to evaluate on")
    why = f"hit@20 {ours:.3f}, channel popularity {popular:.3f}"
    return Verdict(ours > popular, why, {"hit@20": ours, "popularity": popular}, warn=True)


@check(("item_model",), blocking=False)
def vectors_stay_in_place(item_model: DriftReport) -> Verdict:
    """A retrain moves few items far from their place in the previous version."""
    bands = {row["band"]: row for row in item_model.table.to_pylist()}
    if not bands:
        return Verdict(True, "no previous version that these vectors could be compared with")
    cosine, overlap = bands["all"]["cosine"], bands["all"]["overlap@10"]
    why = (
        f"mean cosine {cosine:.3f} with the previous version (wanted {LEAST_COSINE}), "
        f"{overlap:.0%} of the ten nearest as before (wanted {LEAST_OVERLAP:.0%}), "
        f"{bands['all']['items']:,} items"
    )
    stays = cosine >= LEAST_COSINE and overlap >= LEAST_OVERLAP
    return Verdict(stays, why, {"cosine": cosine, "overlap": overlap}, warn=True)


@check(("user_evaluation",))
def recommendations_beat_popularity(user_evaluation: pa.Table) -> Verdict:
    """Interactions after the cut are ranked higher than by popularity of the user's channels."""
    users = _figure(user_evaluation, "ground_truth", "users") or 0
    if not users:
        return Verdict(True, "no user to evaluate on")
    ours = _figure(user_evaluation, "user_model", "ndcg@100", "all_repeats") or 0.0
    popular = _figure(user_evaluation, "channel_popularity", "ndcg@100", "all_repeats") or 0.0
    why = f"NDCG@100 {ours:.3f} over {users:.0f} users, channel popularity {popular:.3f}"
    facts = {"NDCG@100": ours, "popularity": popular, "users": users}
    return Verdict(ours > popular, why, facts, warn=users < ENOUGH_USERS)


@check(("user_embeddings",), {"user_histories": ("user_histories",)})
def every_user_has_a_vector(user_embeddings: pa.Table, user_histories: ir.Table) -> Verdict:
    """Every user with an event has one finite vector."""
    users = user_histories.user_id.nunique().to_pyarrow().as_py()
    finite = bool(np.isfinite(vectors(user_embeddings, unit=False)).all())
    unique = len(pc.unique(user_embeddings["user_id"]))
    why = f"{user_embeddings.num_rows:,} vectors of {unique:,} users, {users:,} have events"
    passed = finite and users == unique == user_embeddings.num_rows
    return Verdict(passed, why, {"users": users})


CHECKS: Final[tuple[Check, ...]] = (
    conservation,
    canonical_edges,
    bridge_joins_two_channels,
    held_out_sides_apart,
    vocabulary_is_whole,
    backtest_unit_vectors,
    unit_vectors,
    backtest_near_ones_are_found,
    near_ones_are_found,
    links_beat_chance,
    spaces_are_aligned,
    link_probabilities_hold,
    every_line_enriched_once,
    goes_with_beats_popularity,
    vectors_stay_in_place,
    recommendations_beat_popularity,
    every_user_has_a_vector,
)
