"""Laws of the demo world, on one small share of its households, and of its truth bench."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core.demo import DemoSettings, DemoSummary, source, truth_path, write_demo
from itememb_core.demo.world import GROCERY_DEPARTMENTS, opaque_id
from itememb_core.errors import ItemembError
from tests.bench.demo_truth import score_links

SHARE = 0.02
DAY_US = 86_400_000_000
PREFIXES = ("fmcg_", "nfmcg_", "offer_")
CHANNEL_FOLDERS = ("payments/receipts", "retail/events", "marketplace/events", "offers/events")


@dataclass(frozen=True)
class Demo:
    raw: Path
    summary: DemoSummary
    truth: pd.DataFrame
    receipts: pd.DataFrame
    retail: pd.DataFrame
    marketplace: pd.DataFrame


def rows_of(folder: Path) -> pd.DataFrame:
    """All rows of a folder of day files, timestamps as microseconds since day 0."""
    tables = []
    for file in sorted(folder.glob("*.pq")):
        table = pq.read_table(file)
        stamps = table["timestamp"].cast(pa.int64())
        tables.append(table.set_column(0, "timestamp", stamps))
    return pa.concat_tables(tables).to_pandas()


def make(raw: Path, **options: Any) -> Demo:
    summary = write_demo(raw, DemoSettings(**{"households": SHARE, **options}))
    return Demo(
        raw=raw,
        summary=summary,
        truth=pd.read_parquet(truth_path(raw)),
        receipts=rows_of(raw / "payments/receipts"),
        retail=rows_of(raw / "retail/events"),
        marketplace=rows_of(raw / "marketplace/events"),
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return make(tmp_path_factory.mktemp("demo") / "raw")


@pytest.fixture(scope="module")
def wheel(demo: Demo) -> pd.DataFrame:
    """The real lines of the demo's households, read on their own."""
    lines = pd.read_parquet(source.data_folder() / "transactions.parquet")
    users = pd.read_parquet(demo.raw / "users.pq")["user_id"]
    return lines[lines["household_id"].isin(users) & (lines["quantity"] > 0)]


def names(demo: Demo) -> pd.Series:
    """Product ids by receipt id."""
    seen = demo.truth.dropna(subset="receipt_item")
    return seen.set_index("receipt_item")["product_id"]


def digests(raw: Path) -> dict[str, str]:
    files = [*sorted(p for p in raw.rglob("*") if p.is_file()), truth_path(raw)]
    return {
        str(f.relative_to(raw.parent)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }


def test_every_basket_is_whole_and_on_one_side(demo: Demo, wheel: pd.DataFrame) -> None:
    on_receipts = set(demo.receipts["transaction_hash"].astype("int64"))
    chosen = wheel[wheel["basket_id"].isin(on_receipts)]
    written = pd.DataFrame(
        {
            "household_id": demo.receipts["user_id"].astype("int64"),
            "basket_id": demo.receipts["transaction_hash"].astype("int64"),
            "product_id": demo.receipts["approximate_item_id"].map(names(demo)).astype("int64"),
            "quantity": demo.receipts["count"].astype("int64"),
        }
    )
    keys = list(written)
    expected = chosen[keys].sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(written.sort_values(keys).reset_index(drop=True), expected)


def test_catalogs_get_the_other_baskets_as_far_as_they_hold_the_products(
    demo: Demo, wheel: pd.DataFrame
) -> None:
    on_receipts = set(demo.receipts["transaction_hash"].astype("int64"))
    rest = wheel[~wheel["basket_id"].isin(on_receipts)]
    twin = demo.truth.set_index("product_id")["catalog_item"]
    items = rest["product_id"].map(twin)
    events = pd.concat([demo.retail, demo.marketplace])
    assert events["item_id"].value_counts().to_dict() == items.value_counts().to_dict()
    assert demo.summary.lines_without_catalog == items.isna().sum() > 0
    assert demo.summary.receipt_lines + len(events) + demo.summary.lines_without_catalog == len(
        wheel
    )


def test_departments_decide_the_catalog(demo: Demo) -> None:
    held = demo.truth[demo.truth["catalog_item"].notna()]
    grocery = held["department"].isin(GROCERY_DEPARTMENTS)
    assert held.loc[grocery, "catalog_item"].str.startswith("fmcg_").all()
    assert held.loc[~grocery, "catalog_item"].str.startswith("nfmcg_").all()
    assert demo.retail["item_id"].str.startswith("fmcg_").all()
    assert demo.marketplace["item_id"].str.startswith("nfmcg_").all()
    assert set(demo.retail["action_type"]) == {"order"}
    assert set(demo.marketplace["action_type"]) == {"clickout"}


def test_receipts_only_products_are_in_no_catalog(demo: Demo) -> None:
    only = demo.truth[demo.truth["kind"] == "receipts_only"]
    assert len(only) == pytest.approx(0.3 * len(demo.truth), abs=5)
    assert only["catalog_item"].isna().all()
    assert (only["catalog_count"] == 0).all()
    items = pd.concat(
        pd.read_parquet(demo.raw / name / "items.pq")["item_id"]
        for name in ("retail", "marketplace")
    )
    assert set(items) == set(demo.truth["catalog_item"].dropna())
    assert set(demo.retail["item_id"]) | set(demo.marketplace["item_id"]) <= set(items)
    assert not {item.split("_")[1] for item in items} & set(only["product_id"].astype(str))


def test_direct_share_and_opaque_names(demo: Demo) -> None:
    seen = demo.truth[demo.truth["receipt_item"].notna()]
    direct = seen["kind"] == "direct"
    assert set(seen["receipt_item"]) == set(demo.receipts["approximate_item_id"])
    assert direct.sum() == round(0.06 * len(seen)) == demo.summary.direct
    assert (seen.loc[direct, "receipt_item"] == seen.loc[direct, "catalog_item"]).all()
    opaque = seen.loc[~direct, "receipt_item"]
    assert not opaque.str.startswith(PREFIXES).any()
    assert opaque.is_unique
    # Popular ones more often: the chance grows with the square root of the purchases.
    count = (seen["receipt_count"] + seen["catalog_count"])[seen["kind"] != "receipts_only"]
    weighted = np.average(count, weights=np.sqrt(count))
    assert count[direct].mean() > (count.mean() + weighted) / 2
    assert opaque_id(25671, 0) == opaque_id(25671, 0) != opaque_id(25671, 1)


def test_truth_counts_are_those_of_the_files(demo: Demo) -> None:
    truth = demo.truth
    seen = truth.set_index("receipt_item")["receipt_count"]
    assert demo.receipts["approximate_item_id"].value_counts().to_dict() == {
        item: n for item, n in seen.items() if n > 0
    }
    events = pd.concat([demo.retail, demo.marketplace])["item_id"].value_counts()
    bought = truth[truth["catalog_count"] > 0].set_index("catalog_item")["catalog_count"]
    assert events.to_dict() == bought.to_dict()


def test_blank_brands(demo: Demo) -> None:
    lines = demo.receipts.groupby("approximate_item_id")["brand_id"].agg(["size", "count"])
    often = lines[lines["size"] >= 8]
    blank = often["count"] == 0
    spread = 4 * np.sqrt(0.7 * 0.3 / len(often))
    assert blank.mean() == pytest.approx(0.7, abs=spread)
    others = often[~blank]
    share = others["count"].sum() / others["size"].sum()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(others["size"].sum()))
    maker = pd.read_parquet(source.data_folder() / "products.parquet").set_index("product_id")
    product = names(demo)
    known = demo.receipts.dropna(subset="brand_id")
    real = known["approximate_item_id"].map(product).map(maker["manufacturer_id"])
    assert (known["brand_id"].astype("int64") == real).all()


def test_receipt_prices_are_marked_up_and_noisy(demo: Demo, wheel: pd.DataFrame) -> None:
    product = names(demo)
    lines = demo.receipts.assign(
        product_id=demo.receipts["approximate_item_id"].map(product),
        basket_id=demo.receipts["transaction_hash"].astype("int64"),
    ).merge(wheel, on=["basket_id", "product_id"])
    lines = lines[lines["sales_value"] > 0]
    ratio = np.log(lines["price"] / (lines["sales_value"] / lines["quantity"]))
    by_product = ratio.groupby(lines["product_id"])
    # Within a product only the noise varies: sums of squares have size - 1 degrees of freedom.
    freedom = (by_product.size() - 1).sum()
    noise = np.sqrt(((by_product.size() - 1) * by_product.var().fillna(0)).sum() / freedom)
    assert noise == pytest.approx(0.03, rel=0.05)
    assert by_product.mean().std() == pytest.approx(np.hypot(0.08, 0.03), rel=0.1)


def test_catalog_prices_are_real_medians(demo: Demo, wheel: pd.DataFrame) -> None:
    unit = (wheel["sales_value"] / wheel["quantity"]).groupby(wheel["product_id"]).median()
    items = pd.read_parquet(demo.raw / "retail/items.pq").set_index("item_id")
    numbers = items.index.str.removeprefix("fmcg_").astype("int64")
    np.testing.assert_allclose(items["price"], unit.reindex(numbers))


def test_household_preferences_differ(demo: Demo, wheel: pd.DataFrame) -> None:
    on_receipts = set(demo.receipts["transaction_hash"].astype("int64"))
    baskets = wheel.drop_duplicates("basket_id")
    side = baskets["basket_id"].isin(on_receipts).groupby(baskets["household_id"])
    share = side.mean()[side.size() >= 20]
    # Beta(2, 2) has a standard deviation of 0.22; a fair coin over 20 baskets at most 0.11.
    assert 0.15 < share.std() < 0.3
    assert share.mean() == pytest.approx(0.5, abs=0.15)


def test_rows_lie_in_their_days_files(demo: Demo) -> None:
    for folder in CHANNEL_FOLDERS:
        files = sorted((demo.raw / folder).glob("*"))
        assert files
        for file in files:
            table = pq.read_table(file)
            assert table["timestamp"].type == pa.duration("us")
            stamps = table["timestamp"].cast(pa.int64()).to_numpy()
            assert len(file.stem) == 5
            assert (stamps // DAY_US == int(file.stem)).all()
            assert (np.diff(stamps) >= 0).all()


def test_times_and_redemptions_are_real(demo: Demo, wheel: pd.DataFrame) -> None:
    stamps = demo.receipts.groupby("transaction_hash")["timestamp"].agg(["min", "max"])
    assert (stamps["min"] == stamps["max"]).all()
    real = wheel.drop_duplicates("basket_id").set_index("basket_id")["transaction_timestamp"]
    real_us = (real - pd.Timestamp("2017-01-01")) // pd.Timedelta("1us")
    assert (stamps["min"] == real_us[stamps.index.astype("int64")].to_numpy()).all()
    redeemed = pd.read_parquet(source.data_folder() / "coupon_redemptions.parquet")
    mine = redeemed[redeemed["household_id"].isin(wheel["household_id"])]
    events = rows_of(demo.raw / "offers/events")
    assert sorted(events["item_id"]) == sorted("offer_" + mine["coupon_upc"].astype(str))
    offers = pd.read_parquet(demo.raw / "offers/items.pq")["item_id"]
    assert set(events["item_id"]) <= set(offers)


def test_truth_stands_beside_raw(demo: Demo) -> None:
    assert {p.name for p in demo.raw.iterdir()} == {
        "users.pq",
        "brands.pq",
        "retail",
        "marketplace",
        "offers",
        "payments",
    }
    assert {p.name for p in demo.raw.parent.iterdir()} == {"raw", "raw_truth.parquet"}
    assert demo.summary.files == sum(p.is_file() for p in demo.raw.rglob("*"))


def test_same_seed_same_bytes_other_seed_other_world(tmp_path: Path) -> None:
    found = []
    for run, seed in enumerate((5, 5, 6)):
        raw = tmp_path / str(run) / "raw"
        write_demo(raw, DemoSettings(households=0.003, seed=seed))
        found.append((digests(raw), pd.read_parquet(truth_path(raw))))
    assert found[0][0] == found[1][0]
    opaque = [set(t.query("kind != 'direct'")["receipt_item"].dropna()) for _, t in found]
    assert opaque[0] == opaque[1]
    assert opaque[2]
    assert not opaque[0] & opaque[2]


def test_options_at_their_ends(tmp_path: Path) -> None:
    options = {"direct": 0.2, "receipts_only": 0.0, "brand_missing": 1.0, "no_prices": True}
    world = make(tmp_path / "raw", households=0.005, receipt_share=0.75, **options)
    assert world.receipts["price"].isna().all()
    assert world.receipts["brand_id"].isna().all()
    assert pd.read_parquet(world.raw / "retail/items.pq")["price"].isna().all()
    unlisted = world.truth["department"].isna()
    assert (world.truth.loc[~unlisted, "kind"] != "receipts_only").all()
    seen = world.truth["receipt_item"].notna()
    assert world.summary.direct == round(0.2 * seen.sum())


def test_refusals_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(ItemembError, match="full: not empty"):
        write_demo(full, DemoSettings(households=SHARE))
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ItemembError, match="cannot be written"):
        write_demo(file / "raw", DemoSettings(households=0.001))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ItemembError, match=r"itememb\[demo\]"):
        write_demo(tmp_path / "raw", DemoSettings(households=SHARE))
    assert {p.name for p in tmp_path.iterdir()} == {"full", "file"}


def _table(lake: Path, name: str, columns: dict[str, Any]) -> None:
    (lake / name).mkdir(parents=True)
    pq.write_table(pa.table(columns), lake / name / "part.parquet")


@pytest.fixture
def hand_made(tmp_path: Path) -> Path:
    """A lake beside its truth: a and b well seen, c seldom, d without a twin; e is direct."""
    truth = pa.table(
        {
            "product_id": [1, 2, 3, 4, 5],
            "receipt_item": ["a", "b", "c", "d", "fmcg_e"],
            "catalog_item": ["fmcg_a", "fmcg_b", "fmcg_c", None, "fmcg_e"],
            "kind": ["opaque", "opaque", "opaque", "receipts_only", "direct"],
            "receipt_count": [10, 30, 2, 50, 9],
            "catalog_count": [12, 10, 30, 0, 9],
        }
    )
    pq.write_table(truth, tmp_path / "truth.parquet")
    lake = tmp_path / "lake"
    _table(
        lake,
        "link_candidates",
        {
            "receipt_item": ["a", "b", "b", "c", "d"],
            "catalog_item": ["fmcg_a", "fmcg_a", "fmcg_b", "fmcg_c", "fmcg_c"],
            "rank": [1, 1, 2, 1, 1],
            "csls": [0.9, 0.2, 0.1, 0.4, 0.8],
            "probability": [0.9, 0.3, 0.2, 0.7, 0.8],
        },
    )
    _table(
        lake,
        "cross_domain_links",
        {
            "receipt_item": ["a", "c", "d", "fmcg_e"],
            "catalog_item": ["fmcg_a", "fmcg_c", "fmcg_c", "fmcg_e"],
            "method": ["learned", "learned", "learned", "direct"],
        },
    )
    vectors = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]]
    _table(
        lake,
        "item_embeddings",
        {
            "item_id": ["a", "b", "fmcg_a", "fmcg_b"],
            "domain": ["receipt", "receipt", "retail", "retail"],
            "embedding": pa.array(vectors, pa.list_(pa.float32(), 2)),
        },
    )
    return lake


def test_score_links_by_hand(hand_made: Path) -> None:
    found = score_links(hand_made, hand_made.parent / "truth.parquet")
    assert (found["opaque_items"], found["well_seen_items"]) == (4, 2)
    assert (found["hit@1"], found["hit@10"]) == (0.5, 1.0)
    assert (found["cosine_hit@1"], found["cosine_hit@10"]) == (0.0, 1.0)
    assert found["chance_hit@1"] == 0.5
    assert (found["popularity_hit@1"], found["popularity_hit@10"]) == (0.0, 1.0)
    assert (found["accepted"], found["coverage"]) == (3, 0.5)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["well_seen_precision"] == 1.0
    assert (found["direct_links"], found["direct_right"]) == (1, 1.0)
    # In order of probability: a right, d wrong, c right, b wrong.
    assert found["hindsight_coverage@0.80"] == 0.5
