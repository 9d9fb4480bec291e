"""The tables of the T-ECD raw layout, and the truth table, from the real data and the world.

What does not belong here: draws, files.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.demo import texts
from itememb_core.demo.settings import DemoSettings
from itememb_core.demo.source import Bools, Floats, Ints, Source
from itememb_core.demo.world import KIND_NAMES, RECEIPTS_ONLY, World
from itememb_core.settings import DomainSettings

_TEXT = pa.large_string()
_VECTOR = pa.list_(pa.float32())
_ATTRIBUTES = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))

#: Products' columns that catalog items carry as attributes.
_ATTRIBUTE_COLUMNS = ("department", "brand", "package_size")


def _stamps(time: Ints) -> pa.Array:
    return pa.array(time, pa.duration("us"))


def _order(rows: Ints, names: pa.Array, source: Source) -> Ints:
    """Sort line numbers by time, basket and the item's name on that side.

    The name, not the product: the order of a receipt's lines must not reveal what they are.
    """
    lines = source.lines
    rank = np.argsort(np.argsort(names.to_numpy(zero_copy_only=False).astype(str)))
    keys = (rank[lines.product[rows]], lines.basket[rows], lines.time[rows])
    return np.asarray(rows[np.lexsort(keys)], dtype=np.int64)


def receipts(source: Source, world: World, settings: DemoSettings) -> pa.Table:
    """Return ``payments/receipts`` of all days, in order of time."""
    lines = source.lines
    rows = _order(np.flatnonzero(world.on_receipts), world.receipt_id, source)
    product = lines.product[rows]
    maker = source.products["manufacturer_id"].combine_chunks().take(pa.array(product))
    price = pa.array(
        world.receipt_price[rows].astype(np.float32),
        mask=np.full(rows.size, settings.no_prices),
    )
    blank = pa.array(world.brand_blank[rows])
    printed = {}
    if settings.receipt_text:
        printed = {"title": texts.receipt_texts(source, settings).take(pa.array(product))}
    return pa.table(
        {
            "timestamp": _stamps(lines.time[rows]),
            "user_id": pa.array(lines.household[rows]).cast(pa.uint64()),
            "brand_id": pc.if_else(blank, None, maker).cast(pa.uint64()),
            "approximate_item_id": world.receipt_id.take(pa.array(product)),
            "count": pa.array(lines.quantity[rows].astype(np.float32)),
            "price": price,
            "transaction_hash": pa.array(lines.basket[rows]).cast(_TEXT),
            **printed,
        }
    )


def purchases(source: Source, world: World, retail: bool) -> pa.Table:
    """Return the events of one catalog's purchases on all days, in order of time.

    The action is the strongest one that the channel's real files know: ``order`` in retail,
    ``clickout`` in the marketplace.
    """
    lines = source.lines
    chosen = world.in_catalog & (world.retail[lines.product] == retail)
    rows = _order(np.flatnonzero(chosen), world.catalog_id.fill_null(""), source)
    item = world.catalog_id.take(pa.array(lines.product[rows]))
    action = "order" if retail else "clickout"
    return _events(lines.time[rows], pa.array(lines.household[rows]), item, action)


def _events(time: Ints, user: pa.Array, item: pa.Array, action: str) -> pa.Table:
    """Return catalog events; the subdomain is constant, the operating system unknown."""
    return pa.table(
        {
            "timestamp": _stamps(time),
            "user_id": user.cast(pa.uint64()),
            "item_id": item,
            "subdomain": pa.repeat(pa.scalar("catalog", _TEXT), time.size),
            "action_type": pa.repeat(pa.scalar(action, _TEXT), time.size),
            "os": pa.nulls(time.size, _TEXT),
        }
    )


def redemptions(source: Source) -> pa.Table:
    """Return ``offers/events`` of all days: a redeemed coupon is an ``order`` of its offer."""
    rows = source.redemptions.combine_chunks()
    time = rows["time"].to_numpy()
    user = rows["household_id"].combine_chunks()
    table = _events(time, user, _offer_ids(rows["coupon_upc"]), "order")
    return table.drop_columns(["subdomain", "os"])


def _offer_ids(coupons: pa.ChunkedArray) -> pa.Array:
    numbers = coupons.combine_chunks().cast(_TEXT)
    prefix = pa.scalar(DomainSettings().offers, _TEXT)
    return pc.binary_join_element_wise(prefix, numbers, pa.scalar("", _TEXT))


def offers(source: Source) -> pa.Table:
    """Return ``offers/items``: every coupon, redeemed or not."""
    size = source.coupons.num_rows
    return pa.table(
        {
            "item_id": _offer_ids(source.coupons["coupon_upc"]),
            "brand_id": source.coupons["manufacturer_id"].cast(pa.uint64()),
            "embedding": pa.nulls(size, _VECTOR),
        }
    )


def items(source: Source, world: World, retail: bool, settings: DemoSettings) -> pa.Table:
    """Return one catalog's ``items``: bought or not, with the median real price of a unit."""
    chosen = np.flatnonzero((world.kind != RECEIPTS_ONLY) & (world.retail == retail))
    rows = source.products.take(pa.array(chosen))
    price = np.full(chosen.size, np.nan) if settings.no_prices else _medians(source)[chosen]
    return pa.table(
        {
            "item_id": world.catalog_id.take(pa.array(chosen)),
            "brand_id": rows["manufacturer_id"].cast(pa.uint64()),
            "category": rows["product_category"].cast(_TEXT),
            "subcategory": rows["product_type"].cast(_TEXT),
            "price": pa.array(price, mask=np.isnan(price)),
            "embedding": pa.nulls(chosen.size, _VECTOR),
            "title": _titles(source, settings).take(pa.array(chosen)),
            "attributes": _attributes(rows),
        }
    )


def _titles(source: Source, settings: DemoSettings) -> pa.Array:
    """Return each product's type and package size, with receipt texts its brand, too."""
    if settings.receipt_text:
        return pa.array(texts.full_names(source, settings), _TEXT)
    rows = source.products
    pairs = zip(rows["product_type"].to_pylist(), rows["package_size"].to_pylist(), strict=True)
    return pa.array([", ".join(filter(None, pair)) or None for pair in pairs], _TEXT)


def _attributes(rows: pa.Table) -> pa.Array:
    """Return each item's known attributes as a list of (name, value)."""
    columns = zip(*(rows[name].to_pylist() for name in _ATTRIBUTE_COLUMNS), strict=True)
    values = [
        [
            {"name": name, "value": value}
            for name, value in zip(_ATTRIBUTE_COLUMNS, row, strict=True)
            if value is not None
        ]
        for row in columns
    ]
    return pa.array(values, _ATTRIBUTES)


def _medians(source: Source) -> Floats:
    """Return the median unit price of each product, dollars; NaN where nobody bought it."""
    lines, size = source.lines, source.products.num_rows
    price = lines.price[np.lexsort((lines.price, lines.product))]
    count = np.bincount(lines.product, minlength=size)
    start = np.cumsum(count) - count
    middle = np.full(size, np.nan)
    some = count > 0
    low, high = (start + (count - 1) // 2)[some], (start + count // 2)[some]
    middle[some] = (price[low] + price[high]) / 2.0
    return middle


def users(source: Source) -> pa.Table:
    """Return ``users``: the age band as socio-demographic cluster (null where unknown)."""
    age = source.households["age"]
    bands = pc.sort_indices(pc.unique(age.drop_null()))
    cluster = pc.index_in(age, value_set=pc.unique(age.drop_null()).take(bands))
    return pa.table(
        {
            "user_id": source.households["household_id"].cast(pa.uint64()),
            "socdem_cluster": cluster.cast(pa.uint8()),
            "region": pa.nulls(age.length(), pa.uint8()),
        }
    )


def brands(source: Source) -> pa.Table:
    """Return ``brands``: the manufacturers; no vectors are known."""
    makers = pc.unique(source.products["manufacturer_id"].drop_null()).sort()
    return pa.table(
        {"brand_id": makers.cast(pa.uint64()), "embedding": pa.nulls(len(makers), _VECTOR)}
    )


def truth(source: Source, world: World) -> pa.Table:
    """Return the truth: one row a product, with its names and purchases on both sides."""
    product, size = source.lines.product, source.products.num_rows
    on_receipts = np.bincount(product[world.on_receipts], minlength=size)
    in_catalog = np.bincount(product[world.in_catalog], minlength=size)
    return pa.table(
        {
            "product_id": source.products["product_id"],
            "receipt_item": pc.if_else(pa.array(on_receipts > 0), world.receipt_id, None),
            "catalog_item": world.catalog_id,
            "kind": pa.array([KIND_NAMES[code] for code in world.kind.tolist()], pa.string()),
            "receipt_count": pa.array(on_receipts, pa.int64()),
            "catalog_count": pa.array(in_catalog, pa.int64()),
            "department": source.products["department"],
        }
    )


def days(table: pa.Table, day_us: int) -> tuple[Ints, Ints]:
    """Return the day numbers of a table sorted by time and where each day's rows start."""
    stamps = table["timestamp"].cast(pa.int64()).to_numpy()
    number, start = np.unique(stamps // day_us, return_index=True)
    return number, np.append(start, stamps.size).astype(np.int64)


def count_true(flags: Bools) -> int:
    """Return how many flags are set."""
    return int(np.count_nonzero(flags))
