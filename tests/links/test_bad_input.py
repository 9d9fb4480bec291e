"""Too little, nothing, or nonsense to link by: no crash, no false link, a reason."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.links.candidates import cross_domain_links, link_candidates
from itememb_core.links.nodes import no_links_reason
from itememb_core.links.pool import link_pool
from itememb_core.links.scorer.fit import fit_scorer
from itememb_core.schemas import CATALOG, LINK_HOLDOUT
from itememb_core.settings import LinkPoolSettings, LinkScorerSettings
from tests.worlds.links import World, no_facts

POOL = LinkPoolSettings(size=20, by_users=10)
SCORER = LinkScorerSettings(rounds=30)


def only(world, kept):
    """The world's tables without the nodes for which ``kept(item, receipts, retail)`` is false."""
    rows = [kept(row[0], row[3], row[4]) for row in world.rows]
    mask = pa.array(rows)
    vocabulary = world.vocabulary.filter(mask)
    index = pa.array(range(vocabulary.num_rows), pa.int32())
    vocabulary = vocabulary.set_column(0, vocabulary.schema.field(0), index)
    data = world.data()
    users = data.user_items.filter(
        pa.compute.is_in(data.user_items["item_id"], vocabulary["item_id"].combine_chunks())
    )
    embeddings = world.embeddings.filter(mask)
    return replace(data, embeddings=embeddings, vocabulary=vocabulary, user_items=users)


def linked(data, holdout):
    """The scorer and the methods of the accepted links."""
    pool = link_pool(data, POOL)
    scorer = fit_scorer(pool, data.vocabulary, holdout, SCORER, seed=0)
    candidates = link_candidates(pool, data.vocabulary, scorer, k=10)
    return scorer, cross_domain_links(candidates, data.vocabulary, scorer)


def learned(links):
    return links.filter(pa.compute.equal(links["method"], "learned")).num_rows


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda item, receipts, retail: not receipts, "no opaque item"),
        (lambda item, receipts, retail: not item.startswith("fmcg_"), "no catalog item"),
    ],
    ids=["no receipts", "no catalog"],
)
def test_a_side_that_is_not_there_makes_no_link(kept, reason):
    world = World(matches=30, opaque=30, alone=5, extra=10)
    data = only(world, kept)
    scorer, links = linked(data, LINK_HOLDOUT.empty_table())
    assert reason in (no_links_reason(data.vocabulary, POOL) or "")
    assert links.num_rows == 0
    assert "no held-out direct match" in (scorer.reason or "")


def test_no_direct_match_means_no_learned_link():
    world = World(matches=0, opaque=40, alone=10, extra=10)
    scorer, links = linked(world.data(), LINK_HOLDOUT.empty_table())
    assert "no held-out direct match" in (scorer.reason or "")
    assert learned(links) == 0


def test_twenty_direct_matches_are_too_few_to_accept_by():
    world = World(matches=20, opaque=200, alone=60, extra=60)
    scorer, links = linked(world.data(), world.holdout)
    assert learned(links) == 0
    assert scorer.strict
    assert "too few" in (scorer.reason or "") or "fewer than 300" in (scorer.reason or "")


def test_users_who_never_shop_in_two_channels_make_no_link():
    world = World(matches=320, opaque=200, alone=60, extra=60, signal=False)
    data = world.data()
    catalog = pa.compute.equal(data.user_items["channel"], "retail").to_numpy()
    apart = data.user_items["user_id"].to_numpy() + 1_000_000 * catalog.astype(np.int64)
    data = replace(data, user_items=data.user_items.set_column(1, "user_id", pa.array(apart)))
    pool = link_pool(data, POOL)
    assert pool["rank_users"].null_count == pool.num_rows
    scorer, links = linked(data, world.holdout)
    assert learned(links) == 0
    assert scorer.reason


@pytest.fixture(scope="module")
def bare():
    """A catalog that lists the items and knows nothing of them."""
    world = World(matches=320, opaque=300, alone=80, extra=60)
    ids = sorted({row[0] for row in world.rows if row[0].startswith("fmcg_")})
    rows = [{"item_id": item} for item in ids]
    catalog = pa.Table.from_pylist(rows, schema=CATALOG)
    return world, replace(world.data(), facts=no_facts(), catalog=catalog)


def test_no_price_brand_or_category_still_links_and_rightly(bare):
    world, data = bare
    scorer, links = linked(data, world.holdout)
    found = links.to_pandas().query("method == 'learned'")
    found = found[~found.receipt_item.isin(world.holdout["item_id"].to_pylist())]
    assert len(found) > 50
    assert (found.catalog_item == found.receipt_item.map(world.truth)).mean() > 0.9
    assert scorer.importances["price_gap"] == scorer.importances["brand"] == 0


def test_copies_of_one_catalog_item_share_no_link(bare):
    # Every catalog item is there twice, with the same vector and buyers: all are ties.
    world, data = bare
    retail = [i for i, row in enumerate(world.rows) if row[4] > 0]
    rows = data.vocabulary.take(pa.array(retail)).to_pylist()
    copies = [row | {"item_id": row["item_id"] + "_copy"} for row in rows]
    every = data.vocabulary.to_pylist() + copies
    every = [row | {"index": i} for i, row in enumerate(every)]
    vocabulary = pa.Table.from_pylist(every, schema=data.vocabulary.schema)
    embedded = data.embeddings.to_pylist()
    embedded += [embedded[i] | {"item_id": embedded[i]["item_id"] + "_copy"} for i in retail]
    embeddings = pa.Table.from_pylist(embedded, schema=data.embeddings.schema)
    bought = data.user_items.to_pylist()
    bought += [
        row | {"item_id": row["item_id"] + "_copy"} for row in bought if row["channel"] == "retail"
    ]
    users = pa.Table.from_pylist(bought, schema=data.user_items.schema)
    twice = replace(data, vocabulary=vocabulary, embeddings=embeddings, user_items=users)
    _, links = linked(twice, world.holdout)
    assert learned(links) < 10
