"""Price and brand of items on receipts and in the catalog, compared by pair; never their ids.

Texts have a folder of their own; the receipts' summary holds what they are compared by.
"""

from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.edges.pairs import int64
from itememb_core.features.content.sources import receipt_texts
from itememb_core.items.vocabulary import UNKNOWN, node_index
from itememb_core.links.nodes import LinkNodes
from itememb_core.services import RECEIPTS, RETAIL

#: Quantiles of an item's receipt prices: low, middle, high.
QUANTILES = (0.1, 0.5, 0.9)


class ReceiptFacts(NamedTuple):
    """Summaries of receipt lines, from any engine.

    Attributes:
        prices: item_id, low, middle, high: quantiles of its lines' prices.
        brands: item_id, brand_id, n: lines that name the brand.
        texts: item_id, title: the text that most lines have; ``None``: lines have no such column.
    """

    prices: pa.Table
    brands: pa.Table
    texts: pa.Table | None = None


def receipt_facts(receipts: ir.Table) -> ReceiptFacts:
    """Summarise receipt lines; lines without price, brand or text do not count for it.

    Args:
        receipts: Rows of ``schemas.EVENTS``, nothing after the cut; ``title`` may be missing.
    """
    priced = receipts.filter(receipts.price.notnull())
    low, middle, high = (priced.price.quantile(share) for share in QUANTILES)
    prices = priced.group_by("item_id").agg(low=low, middle=middle, high=high)
    branded = receipts.filter(receipts.brand_id.notnull())
    brands = branded.group_by("item_id", "brand_id").agg(n=int64(branded.count()))
    texts = None
    if "title" in receipts.columns:
        texts = receipt_texts(receipts).order_by("item_id").to_pyarrow()
    return ReceiptFacts(
        prices.order_by("item_id").to_pyarrow(),
        brands.order_by("item_id", "brand_id").to_pyarrow(),
        texts,
    )


class ItemFacts(NamedTuple):
    """Facts by row of the two sides of the link task; NaN: not known.

    Attributes:
        receipt_prices: float32 [n, 3], low, middle and high; logarithms where no price of
            either side is negative (transformed prices are taken as they are).
        catalog_price: float32 [m], on the same scale.
        receipt_brand: float64 [n], the brand most lines name, ties by the smallest.
        catalog_brand: float64 [m].
    """

    receipt_prices: NDArray[np.float32]
    catalog_price: NDArray[np.float32]
    receipt_brand: NDArray[np.float64]
    catalog_brand: NDArray[np.float64]


def item_facts(
    facts: ReceiptFacts, catalog: pa.Table, vocabulary: pa.Table, nodes: LinkNodes
) -> ItemFacts:
    """Bring the facts to the rows of the two sides.

    Args:
        facts: Of the receipts up to the cut.
        catalog: ``schemas.CATALOG``; item_id, price and brand_id are read.
        vocabulary: ``schemas.VOCABULARY``.
        nodes: The two sides.
    """
    names = ("low", "middle", "high")
    prices = [_on_nodes(facts.prices, name, RECEIPTS, vocabulary, nodes.receipts) for name in names]
    price = _on_nodes(catalog, "price", RETAIL, vocabulary, nodes.catalog)
    brands = facts.brands.sort_by([("n", "ascending"), ("brand_id", "descending")])  # last wins
    scale = _logs if not (_negative(*prices) or _negative(price)) else np.asarray
    return ItemFacts(
        scale(np.stack(prices, axis=1)).astype(np.float32),
        scale(price).astype(np.float32),
        _on_nodes(brands, "brand_id", RECEIPTS, vocabulary, nodes.receipts),
        _on_nodes(catalog, "brand_id", RETAIL, vocabulary, nodes.catalog),
    )


def compare(
    facts: ItemFacts, query: NDArray[np.int64], base: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Price gaps (receipt less catalog) and brand agreement of pairs, float32 [pairs] each.

    ``brand`` is 1 for the same, -1 for another; all are NaN where a side is not known.
    """
    gaps = facts.receipt_prices[query] - facts.catalog_price[base][:, None]  # [pairs, 3]
    own, other = facts.receipt_brand[query], facts.catalog_brand[base]
    brand = np.where(own == other, 1.0, -1.0).astype(np.float32)
    brand[np.isnan(own) | np.isnan(other)] = np.nan
    return {
        "price_gap_low": gaps[:, 0],
        "price_gap": gaps[:, 1],
        "price_gap_high": gaps[:, 2],
        "brand": brand,
    }


def _on_nodes(
    table: pa.Table, column: str, channel: str, vocabulary: pa.Table, nodes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A column by node, float64 [nodes]; NaN where the table or the column lacks it."""
    known = table.filter(pc.is_valid(table[column]))
    node = node_index(vocabulary, known["item_id"], channel)
    values = np.full(vocabulary.num_rows, np.nan)
    there = node != UNKNOWN
    values[node[there]] = known[column].cast(pa.float64()).to_numpy()[there]
    return values[nodes]


def _negative(*columns: NDArray[np.float64]) -> bool:
    return any(bool((column < 0.0).any()) for column in columns)


def _logs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms; what costs nothing has no known price."""
    return np.log(np.where(values > 0.0, values, np.nan))
