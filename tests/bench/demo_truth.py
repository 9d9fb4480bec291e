"""How right the links of a lake are, evaluated by the demo's ground truth.

``python -m tests.bench.demo_truth LAKE TRUTH`` prints the figures of ``score_links``. Only this
kind of code, outside the pipeline, may read the truth.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.items.vectors import behaviour_vectors

#: Purchases on each side from which an item counts as well seen.
WELL_SEEN = 10
PRECISIONS = (0.95, 0.90, 0.80)
#: Rows of scores held at once; 512 x 65,000 floats are 130 MB.
CHUNK = 512


@dataclass(frozen=True)
class Truth:
    """Rows of the opaque receipt items that were seen, indexed by receipt id.

    ``true_match``: the true catalog item, missing where there is none; ``well``: the items with a
    true match and at least ``WELL_SEEN`` purchases on both sides; ``popular``: the ten catalog
    items bought most.
    """

    true_match: pd.Series
    well: pd.Index
    direct: frozenset[str]
    popular: tuple[str, ...]


def read_truth(path: Path) -> Truth:
    """Read the truth table that ``write_demo`` wrote."""
    if not path.is_file():
        raise ItemembError(f"truth {path}: no such file, expected the demo's truth table")
    table = pq.read_table(path).to_pandas()
    seen = table[table["receipt_item"].notna()]
    opaque = seen[seen["kind"] != "direct"].set_index("receipt_item")
    bought = table.sort_values(["catalog_count", "product_id"], ascending=[False, True])
    counts = opaque[["receipt_count", "catalog_count"]].min(axis=1)
    return Truth(
        true_match=opaque["catalog_item"],
        well=opaque.index[opaque["catalog_item"].notna() & (counts >= WELL_SEEN)],
        direct=frozenset(seen.loc[seen["kind"] == "direct", "receipt_item"]),
        popular=tuple(bought["catalog_item"].dropna()[:10]),
    )


def read_table(lake: Path, name: str) -> pd.DataFrame:
    """Read a lake table of one or more files."""
    if not (lake / name).is_dir():
        raise ItemembError(f"lake {lake}: no table {name}")
    return pq.read_table(lake / name).to_pandas()


def score_links(lake: Path, truth_file: Path) -> dict[str, float]:
    """Judge the final links.

    ``hit@k``: share of the well-seen items whose true catalog item is among their first k
    candidates; beside it by CSLS alone (where the lake has a pool), by plain cosine, by catalog
    popularity and by chance. ``precision``: share of right ones among all accepted learned links,
    items without true link included. ``coverage``: share of the well-seen items with an accepted
    learned link. ``hindsight_coverage@p``: the same if the first candidates were accepted down to
    the score that gives precision p over everything accepted, known only by the truth.
    """
    truth = read_truth(truth_file)
    candidates = read_table(lake, "link_candidates")
    figures: dict[str, float] = {
        "opaque_items": len(truth.true_match),
        "well_seen_items": len(truth.well),
        **_hits(candidates, "rank", "hit", truth),
        **_pool_hits(lake, truth),
        **_embedding_hits(lake, truth),
        **_popular_hits(truth),
        **_accepted(read_table(lake, "cross_domain_links"), truth),
    }
    first = candidates[candidates["rank"] == 1]
    for wanted in PRECISIONS:
        figures[f"hindsight_coverage@{wanted:.2f}"] = _hindsight(first, truth, wanted)
    return figures


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def right_links(pairs: pd.DataFrame, truth: Truth) -> np.ndarray:
    """Flag the pairs that are true links; an item without a true match has none."""
    match = pairs["receipt_item"].map(truth.true_match)
    return np.asarray((match == pairs["catalog_item"]) & match.notna(), dtype=bool)


def _hits(pairs: pd.DataFrame, rank: str, name: str, truth: Truth) -> dict[str, float]:
    """Return hit@1 and hit@10 by a column of ranks that count from 1."""
    mine = pairs[pairs["receipt_item"].isin(truth.well)]
    ranks = mine.loc[right_links(mine, truth), rank]
    return {f"{name}@{k}": _share(int((ranks <= k).sum()), len(truth.well)) for k in (1, 10)}


def _pool_hits(lake: Path, truth: Truth) -> dict[str, float]:
    """Return the hits by CSLS alone and how often the pool holds the true item at all."""
    if not (lake / "link_pool").is_dir():
        return {}
    pool = read_table(lake, "link_pool")
    well = pool[pool["receipt_item"].isin(truth.well)]
    held = _share(int(right_links(well, truth).sum()), len(truth.well))
    return _hits(pool, "rank_csls", "csls_hit", truth) | {"pool_holds": held}


def _embedding_hits(lake: Path, truth: Truth) -> dict[str, float]:
    """Return the hits of plain cosine of the behaviour part among the catalog items, of chance."""
    table = pq.read_table(lake / "item_embeddings", columns=["item_id", "domain", "embedding"])
    table = table.combine_chunks()
    ids = pd.Index(table["item_id"].to_pylist())
    vectors = behaviour_vectors(table)
    catalog = np.flatnonzero(np.isin(table["domain"].to_pylist(), ("retail", "marketplace")))
    known = truth.well[truth.well.isin(ids)]
    target = pd.Index(ids[catalog]).get_indexer(truth.true_match[known])  # [queries]
    rank = np.full(len(known), np.iinfo(np.int64).max)
    for low in range(0, len(known), CHUNK):
        rows = slice(low, low + CHUNK)
        scores = vectors[ids.get_indexer(known[rows])] @ vectors[catalog].T  # [chunk, catalog]
        own = scores[np.arange(len(scores)), target[rows]]
        rank[rows] = 1 + (scores > own[:, None]).sum(axis=1)
    rank[target < 0] = np.iinfo(np.int64).max
    chance = {f"chance_hit@{k}": _share(min(k, len(catalog)), len(catalog)) for k in (1, 10)}
    cosine = {f"cosine_hit@{k}": _share(int((rank <= k).sum()), len(truth.well)) for k in (1, 10)}
    return cosine | chance


def _popular_hits(truth: Truth) -> dict[str, float]:
    """Return how often the catalog items bought most would be right."""
    matches = truth.true_match[truth.well]
    return {f"popularity_hit@{k}": float(matches.isin(truth.popular[:k]).mean()) for k in (1, 10)}


def _accepted(links: pd.DataFrame, truth: Truth) -> dict[str, float]:
    """Judge the accepted links."""
    learned = links[links["method"] == "learned"]
    direct = links[links["method"] == "direct"]
    same = direct["receipt_item"] == direct["catalog_item"]
    well = learned["receipt_item"].isin(truth.well)
    right = right_links(learned, truth)
    return {
        "accepted": len(learned),
        "precision": _share(int(right.sum()), len(learned)),
        "well_seen_precision": _share(
            int(right_links(learned[well], truth).sum()), int(well.sum())
        ),
        "coverage": _share(int(well.sum()), len(truth.well)),
        "direct_links": len(direct),
        "direct_right": _share(
            int((same & direct["receipt_item"].isin(truth.direct)).sum()), len(truth.direct)
        ),
    }


def _hindsight(first: pd.DataFrame, truth: Truth, wanted: float) -> float:
    """Return the coverage of the well-seen items at the best threshold of that precision."""
    score = first["probability"] if first["probability"].notna().all() else first["csls"]
    ordered = first.assign(score=score).sort_values(
        ["score", "receipt_item"], ascending=[False, True]
    )
    right = right_links(ordered, truth)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    # A threshold cannot part equal scores.
    last_of_score = np.append(np.diff(ordered["score"].to_numpy()) != 0, True)[: len(right)]
    good = np.flatnonzero((precision >= wanted) & last_of_score)
    taken = ordered.iloc[: int(good[-1]) + 1 if good.size else 0]
    return _share(int(taken["receipt_item"].isin(truth.well).sum()), len(truth.well))


def main(arguments: list[str]) -> int:
    """Print the figures, one a line."""
    if len(arguments) != 2:
        print("usage: python -m tests.bench.demo_truth LAKE TRUTH")
        return 2
    try:
        figures = score_links(Path(arguments[0]), Path(arguments[1]))
    except ItemembError as error:
        print(f"error: {error}")
        return 1
    for name, value in figures.items():
        print(f"{name:26} {value:,.4f}".rstrip("0").rstrip("."))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
