"""The made-up shop of the scale bench: its files are clean and it has the shape that it claims."""

import hashlib
from collections import Counter
from datetime import date
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from itememb_core import raw
from itememb_core.services import CHANNELS, RECEIPTS
from itememb_core.settings import DomainSettings
from itememb_core.tables import clean_events
from tests.bench.shop_days import DAY_US, LONGEST, Shop, _events, _tastes, write_shop
from tests.worlds.tiny import FOLDERS

SHOP = Shop(events=60_000, days=4)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "raw"
    assert abs(write_shop(folder, SHOP) / SHOP.events - 1) < 0.1
    return folder


def rows_of(shop: Path, channel: str) -> pd.DataFrame:
    return pq.read_table(shop / FOLDERS[channel]).to_pandas()


def test_no_row_breaks_a_rule(shop):
    con = ibis.duckdb.connect(threads=1)
    found = raw.scan(shop, date(2017, 1, 1))
    for channel in CHANNELS:
        rows = raw.read_events(con, found, channel, found.days)
        cleaned = clean_events(rows, channel, DomainSettings()).to_pandas()
        assert len(cleaned) > 1000
        assert set(cleaned.reason.dropna()) == set()


def test_items_are_popular_by_zipf_and_users_meet_several_channels(shop):
    counts = Counter(rows_of(shop, "retail").item_id)
    ordered = sorted(counts.values(), reverse=True)
    assert ordered[0] > 10 * ordered[len(ordered) // 2]
    met = [set(rows_of(shop, channel).user_id) for channel in CHANNELS]
    assert len(met[0] & met[1] & met[2]) > 0.5 * SHOP.users


def test_sessions_are_heavy_tailed_and_go_on_over_midnight(shop):
    lines = Counter(rows_of(shop, RECEIPTS).transaction_hash)
    assert 100 < max(lines.values()) <= LONGEST
    assert sum(n == 1 for n in lines.values()) > 0.5 * len(lines)
    drawn = _events(np.random.default_rng([SHOP.seed, 0]), SHOP, _tastes(SHOP), 0)
    late = {(u, t) for u, t in zip(drawn["user"], drawn["time"], strict=True) if t >= DAY_US}
    second = pd.concat(pq.read_table(shop / f / "00001.pq").to_pandas() for f in FOLDERS.values())
    times = second.timestamp // pd.Timedelta(microseconds=1)
    assert late
    assert late <= set(zip(second.user_id, times, strict=True))


def test_equal_shops_are_equal_files(shop, tmp_path):
    write_shop(tmp_path / "raw", SHOP)
    digests = [
        {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.pq"))}
        for folder in (shop, tmp_path / "raw")
    ]
    assert digests[0] == digests[1]
