"""Packed histories: look-ups by hand, links, and shards cut short."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.users.shards import open_shard, pack_histories, pack_shard
from tests.worlds.users import histories, items_of, pack

IDS = ["fmcg_a", "fmcg_b", "offer_c", "x1", "x2"]
ROWS = [
    (1, 0, "fmcg_a"),
    (1, 24, "x1"),
    (1, 48, "fmcg_a"),
    (1, 72, "fmcg_b"),
    (5, 0, "x2"),
    (5, 1, "offer_c", "offers"),
]


def links(receipt, catalog, method="learned"):
    row = {"receipt_item": receipt, "catalog_item": catalog, "method": method}
    return pa.Table.from_pylist([row], schema=schemas.CROSS_DOMAIN_LINKS)


def test_who_had_what_when():
    shard = pack_shard(histories(ROWS), items_of(IDS))
    assert shard.user_ids.tolist() == [1, 5]
    assert shard.start.tolist() == [0, 4, 6]
    assert shard.own.tolist() == [0, 2, 3, 5]
    assert shard.pair_key.tolist() == [0, 1, 3 + 2]  # user * 3 targets + target
    a, b = shard.find_pairs(np.array([0, 0]), np.array([0, 1]), 3)
    assert shard.find_pairs(np.array([1, 1]), np.array([0, 2]), 3).tolist() == [-1, 2]
    latest = shard.latest(np.array([a, a, a, b, -1]), np.array([0, 1, 3, 2, 3]))
    assert latest.tolist() == [0, 0, 1, -1, -1]
    row = shard.repeats(np.array([a]), np.array([1]), np.array([3]), np.zeros((1, 2), np.float32))
    assert row[0, 0] == pytest.approx(np.log(2))
    assert row[0, 1] == pytest.approx(np.log1p(1) / 2)  # a day since the last
    assert row[0, 2] == pytest.approx(1 / 3)  # a day of a cycle of two days and one


def test_a_linked_item_is_had_but_no_target():
    shard = pack_shard(histories(ROWS), items_of(IDS, links=links("x1", "fmcg_b")))
    assert shard.node[1] == 1
    assert shard.own.tolist() == [0, 2, 3, 5]
    pair = shard.find_pairs(np.array([0]), np.array([1]), 3)
    assert np.diff(shard.pair_start)[pair].tolist() == [2]  # once itself, once by the link


def test_direct_rows_of_the_links_are_not_used():
    shard = pack_shard(histories(ROWS), items_of(IDS, links=links("x1", "fmcg_b", "direct")))
    assert shard.node[1] == 3


def test_the_receipts_side_of_a_held_out_match_is_context():
    items = items_of(["fmcg_a", "fmcg_a"], sides=["all", "receipts"])
    rows = [(1, 0, "fmcg_a", "retail"), (1, 1, "fmcg_a", "receipts")]
    shard = pack_shard(histories(rows), items)
    assert shard.node.tolist() == [0, 1]
    assert shard.own.tolist() == [0]
    assert len(shard.pair_events) == 1


def test_repeat_rate_and_users(tmp_path):
    packed = pack(tmp_path, ROWS, items_of(IDS))
    assert packed.item_users.tolist() == [1, 1, 1]
    assert packed.item_stats[:, 0] == pytest.approx([1 / 7, 0, 0])
    assert packed.item_stats[0, 1] == pytest.approx(np.log(1.5 / 3))
    assert (packed.events, packed.users) == (6, 2)


def test_a_written_shard_is_the_same(tmp_path):
    packed = pack(tmp_path, ROWS, items_of(IDS))
    (opened,) = packed.shards()
    made = pack_shard(histories(ROWS), items_of(IDS))
    for name in made.__dataclass_fields__:
        assert np.array_equal(getattr(opened, name), getattr(made, name)), name


def test_missing_rows_are_an_error(tmp_path):
    table = histories(ROWS)
    short = pa.concat_tables([table.slice(0, 1), table.slice(2)])
    with pytest.raises(ItemembError, match="user 1 has position 2, expected 1"):
        pack_histories([short], items_of(IDS), tmp_path)


@pytest.mark.parametrize("left", [0, 60, 140])
def test_a_file_cut_short_is_an_error(tmp_path, left):
    packed = pack(tmp_path, ROWS, items_of(IDS))
    path = tmp_path / packed.names[0] / "seconds.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ItemembError, match="shard_00000"):
        open_shard(tmp_path / packed.names[0])


def test_vectors_of_other_items_are_an_error():
    items = items_of(IDS)
    other = items_of(IDS[::-1])
    from itememb_core.users.items import item_space
    from tests.worlds.links import embeddings_table

    vectors = embeddings_table(other.vectors, IDS[::-1])
    with pytest.raises(ItemembError, match="differ in item_id"):
        item_space(items.vocabulary, vectors)


def test_no_events_at_all(tmp_path):
    packed = pack_histories([histories([])], items_of(IDS), tmp_path)
    assert (packed.names, packed.events) == ((), 0)
