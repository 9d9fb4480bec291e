"""What items are called: catalog titles, and what tills print of receipt items."""

from typing import Final, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.items.vocabulary import ALL_SIDE, RECEIPTS_SIDE

#: Columns of the catalog that content is made of.
_CONTENT: Final = (
    "item_id", "group_id", "title", "embedding", "image_embedding", "text_embedding",
)  # fmt: skip


def receipt_texts(receipts: ir.Table) -> ir.Table:
    """The most frequent text of each receipt item: item_id, title; of equally frequent the first.

    Args:
        receipts: Receipt lines, ``schemas.EVENTS``; those without text do not count.
    """
    title = cast(ir.StringValue, receipts.title)
    named = receipts.filter(title.notnull() & (title.strip() != ""))
    counted = named.group_by("item_id", "title").agg(n=named.count())
    order = [ibis.desc(counted.n), counted.title]
    ranked = counted.mutate(nth=ibis.row_number().over(group_by="item_id", order_by=order))
    return ranked.filter(ranked.nth == 0).select("item_id", "title")


def content_rows(catalog: ir.Table, receipts: ir.Table) -> pa.Table:
    """All that content features are made of: the catalog's rows, then those of receipt texts.

    Args:
        catalog: ``schemas.CATALOG``.
        receipts: Receipt lines that may be seen, ``schemas.EVENTS``.

    Returns:
        The catalog's ``item_id``, ``group_id``, ``title`` and vectors with ``side`` ``all``; a
        receipt text's row has no vector, and its side is ``receipts`` where the catalog has the id.
    """
    listed = catalog.select(*_CONTENT).order_by("item_id").to_pyarrow()
    texts = receipt_texts(receipts).order_by("item_id").to_pyarrow()
    both = pc.is_in(texts["item_id"], value_set=listed["item_id"].combine_chunks())
    sides = pc.if_else(both, RECEIPTS_SIDE, ALL_SIDE)
    nothing = {
        name: pa.nulls(texts.num_rows, listed.schema.field(name).type)
        for name in listed.column_names
    }
    printed = pa.table({**nothing, "item_id": texts["item_id"], "title": texts["title"]})
    listed = listed.append_column("side", pa.array([ALL_SIDE] * listed.num_rows, pa.string()))
    printed = printed.append_column("side", sides).cast(listed.schema)
    return pa.concat_tables([listed, printed])
