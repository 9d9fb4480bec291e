"""``enriched_receipts``: receipt lines joined in Ibis with the catalog items of their links."""

import ibis
import ibis.expr.types as ir

from itememb_core.edges.pairs import int64
from itememb_core.schemas import ENRICHED_RECEIPTS

#: Parts of one unit of price in which spend is summed: sums of integers are exact.
SPEND_UNIT = 1000


def enriched_receipts(receipts: ir.Table, links: ir.Table, catalog: ir.Table) -> ir.Table:
    """Every receipt line once, with the catalog item that its item is linked to.

    Args:
        receipts: ``day`` and ``schemas.EVENTS``.
        links: ``schemas.CROSS_DOMAIN_LINKS``, at most one a receipt item.
        catalog: ``schemas.CATALOG``.

    Returns:
        ``month`` (``YYYY-MM``) and the columns of ``schemas.ENRICHED_RECEIPTS``. ``brand`` is the
        line's own brand, else the catalog item's; ``brand_id`` stays that of the receipt line.
    """
    known = catalog.select(
        catalog_item=catalog.item_id,
        category=catalog.category,
        subcategory=catalog.subcategory,
        catalog_brand=catalog.brand_id,
    )
    chosen = links.select(
        item_id=links.receipt_item,
        catalog_item=links.catalog_item,
        catalog_domain=links.catalog_domain,
        link_probability=links.probability,
        link_method=links.method,
    ).left_join(known, "catalog_item")
    chosen = chosen.drop("catalog_item_right")
    joined = receipts.left_join(chosen, "item_id")
    joined = joined.mutate(
        brand=ibis.coalesce(joined.brand_id, joined.catalog_brand),
        month=joined.day.strftime("%Y-%m"),
    )
    return joined.select("month", *ENRICHED_RECEIPTS.names)


def gains(enriched: ir.Table) -> ir.Table:
    """Lines and spend, and how much of both is linked, gains a category and gains a brand.

    Spend is price times count of lines with both, rounded to a thousandth; where a price is
    negative prices were transformed, and spend is not known.

    Args:
        enriched: What :func:`enriched_receipts` gives.

    Returns:
        One row: ``lines``, ``spend`` (int64, thousandths), and each with ``_linked``,
        ``_category`` and ``_brand``.
    """
    paid = (enriched.price * enriched["count"] * SPEND_UNIT).round().cast("int64")
    rows = enriched.mutate(paid=ibis.coalesce(paid, 0))
    gained = {
        "linked": rows.catalog_item.notnull(),
        "category": rows.category.notnull(),
        "brand": rows.brand_id.isnull() & rows.brand.notnull(),
    }
    figures = {"lines": rows.count(), "spend": rows.paid.sum(), "least_price": rows.price.min()}
    for name, mask in gained.items():
        figures[f"lines_{name}"] = rows.count(where=mask)
        figures[f"spend_{name}"] = rows.paid.sum(where=mask)
    whole = {
        name: value if name == "least_price" else int64(ibis.coalesce(value, 0))
        for name, value in figures.items()
    }
    return rows.agg(**whole)
