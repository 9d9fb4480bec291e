"""What the backtest may not see: held-out ids and the cut."""

import hashlib
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.evaluation.split import cut_day, direct_matches, link_holdout
from itememb_core.settings import DomainSettings

IDS = [f"fmcg_{i}" for i in range(400)]


def test_the_hash_is_keyed_blake2b():
    key = (7).to_bytes(8, "little")
    place = [
        int.from_bytes(hashlib.blake2b(i.encode(), key=key, digest_size=8).digest(), "little")
        for i in IDS
    ]
    expected = sorted(i for i, p in zip(IDS, place, strict=True) if p < 0.3 * 2**64)
    assert link_holdout(IDS, 7, 0.3)["item_id"].to_pylist() == expected


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from(IDS)), st.integers(0, 5), st.floats(0, 1))
def test_an_id_never_moves_when_others_come_or_go(some: set[str], seed: int, share: float):
    held = set(link_holdout(IDS, seed, share)["item_id"].to_pylist())
    assert set(link_holdout(some, seed, share)["item_id"].to_pylist()) == held & some


def test_shares_nest_and_seeds_differ():
    small = set(link_holdout(IDS, 0, 0.2)["item_id"].to_pylist())
    large = set(link_holdout(IDS, 0, 0.6)["item_id"].to_pylist())
    assert small < large
    assert 0.5 < len(large) / len(IDS) < 0.7
    assert link_holdout(IDS, 1, 0.6) != link_holdout(IDS, 0, 0.6)
    assert link_holdout(IDS, 0, 0.0).num_rows == 0
    assert link_holdout(IDS, 0, 1.0).num_rows == len(IDS)


def test_a_share_out_of_range_is_an_error():
    with pytest.raises(ItemembError, match=r"share: found 1\.5"):
        link_holdout(IDS, 0, 1.5)


def test_direct_matches_are_catalog_ids_on_receipts():
    counts = pa.table(
        {
            "item_id": ["fmcg_2", "fmcg_1", "nfmcg_3", "opaque", "fmcg_4"],
            "channel": ["receipts", "receipts", "retail", "receipts", "receipts"],
            "n": [1, 2, 9, 5, 0],
        }
    )
    assert direct_matches(counts, DomainSettings()).to_pylist() == ["fmcg_1", "fmcg_2"]


def test_the_cut_is_the_first_day_not_seen():
    assert cut_day(date(2018, 1, 1), 28) == date(2017, 12, 5)
    assert cut_day(date(2018, 1, 1), 0) == date(2018, 1, 2)
    with pytest.raises(ItemembError, match="holdout_days"):
        cut_day(date(2018, 1, 1), -1)
