"""Votes of neighbours and shares of domains, on vectors whose neighbours are known."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.evaluation.items.probe import category_probe, domain_mixing, vote
from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.schemas import item_embeddings
from itememb_core.settings import DomainSettings


def circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_votes_by_hand():
    labels = np.array([[1, 2, 2, 3], [1, 2, 2, 1], [3, 1, 2, 4]])
    assert vote(labels).tolist() == [2, 1, 3]


def items(names: list[str], angles: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """A vocabulary of touched catalog items and vectors, by name."""
    counts = pa.table({"item_id": names, "channel": ["retail"] * len(names), "n": [1] * len(names)})
    nothing = pa.array([], pa.string())
    words = build_vocabulary(counts, pa.array(["fmcg_untouched"]), nothing, DomainSettings())
    angle = dict(zip(names, angles, strict=True))
    unit = circle(np.array([angle.get(i, 0.0) for i in words["item_id"].to_pylist()]))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(unit.ravel()), 2)
    columns = [words[n].combine_chunks() for n in ("item_id", "side", "domain")]
    columns.append(pa.array(["behaviour"] * len(unit)))
    bias = pa.array(np.zeros(len(unit), np.float32))
    return words, pa.Table.from_arrays([*columns, fixed, fixed, bias], schema=item_embeddings(2))


def probe(labels: dict[str, str | None], angles: np.ndarray) -> dict:
    words, vectors = items(list(labels), angles)
    listed = {**labels, "fmcg_untouched": "tea"}
    catalog = pa.table({"item_id": list(listed), "category": list(listed.values())})
    found = category_probe(vectors, words, catalog, np.random.default_rng(0))
    return {key: values.mean() for key, values in found.values.items()} | {
        name: inside.sum() for name, inside in found.slices.items()
    }


def test_a_clustered_category_is_predicted_and_a_scattered_one_is_not():
    # 20 teas and 12 coffees in two bundles; items without a category take no part.
    tea = {f"fmcg_t{k:02d}": "tea" for k in range(20)}
    coffee = {f"nfmcg_c{k:02d}": "coffee" for k in range(12)}
    unknown: dict[str, str | None] = {f"fmcg_u{k}": None for k in range(5)}
    angles = np.concatenate([np.arange(20) * 0.01, 2 + np.arange(12) * 0.01, np.full(5, 2.0)])
    found = probe({**tea, **coffee, **unknown}, angles)
    assert (found["catalog"], found["catalog, retail"], found["catalog, marketplace"]) == (
        32,
        20,
        12,
    )
    for metric in ("category_accuracy", "domain_accuracy"):
        assert found["nearest_10", metric] == 1.0
        assert found["majority", metric] == 20 / 32
        assert found["random", metric] == pytest.approx((20 * 19 + 12 * 11) / (32 * 31))
    # Alternating labels on a line: of an item's ten nearest five are its own at the most.
    mixed = {f"fmcg_{k:02d}": ("tea", "coffee")[k % 2] for k in range(32)}
    assert probe(mixed, np.arange(32) * 0.01)["nearest_10", "category_accuracy"] < 0.8


def test_fewer_than_two_known_items_are_no_probe():
    words, vectors = items(["fmcg_1", "fmcg_2"], np.zeros(2))
    catalog = pa.table({"item_id": ["fmcg_1", "fmcg_2"], "category": ["tea", None]})
    assert category_probe(vectors, words, catalog, np.random.default_rng(0)) is None


def test_mixing_is_none_for_domains_apart_and_chance_for_shuffled_ones():
    domain = np.repeat([0, 1], [60, 40])
    apart = circle(np.where(domain == 0, 0.0, 2.0) + np.arange(100) * 1e-4)
    share, chance, of = domain_mixing(apart, domain, np.random.default_rng(0))
    assert share.max() == 0.0
    assert chance[of == 0] == pytest.approx(40 / 99)
    assert chance[of == 1] == pytest.approx(60 / 99)
    shuffled = np.random.default_rng(1).permutation(np.repeat([0, 1], [600, 400]))
    share, chance, _ = domain_mixing(
        circle(np.arange(1000) * 1e-3), shuffled, np.random.default_rng(0)
    )
    assert share.mean() == pytest.approx(chance.mean(), abs=0.03)
