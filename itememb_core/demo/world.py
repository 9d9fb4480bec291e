"""What is arranged: who shops where, which products a catalog holds, what receipts call them.

Every draw has its own stream of the seed, so an option changes only what it is about. What does
not belong here: real data, files.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from itememb_core.demo.settings import DemoSettings
from itememb_core.demo.source import Bools, Floats, Ints, Lines, Source
from itememb_core.settings import DomainSettings

#: Departments whose products stand in the retail catalog; the marketplace has the others.
GROCERY_DEPARTMENTS = frozenset(
    {
        "CHEF SHOPPE",
        "DELI",
        "FROZEN GROCERY",
        "GROCERY",
        "MEAT",
        "MEAT-PCKGD",
        "NUTRITION",
        "PASTRY",
        "PRODUCE",
        "RESTAURANT",
        "SALAD BAR",
        "SEAFOOD",
        "SEAFOOD-PCKGD",
        "SPIRITS",
    }
)

#: Kinds of product, as codes of ``World.kind`` and as words of the truth table.
OPAQUE, DIRECT, RECEIPTS_ONLY = 0, 1, 2
KIND_NAMES = ("opaque", "direct", "receipts_only")

#: Beta(2, 2) at a receipt share of one half: the preferences' a + b.
CONCENTRATION = 4.0


@dataclass(frozen=True)
class World:
    """The arrangement; arrays by product ``[products]`` or by line ``[lines]``.

    ``retail``: the product is of the retail catalog's departments. ``receipt_id`` and
    ``catalog_id``: its names on either side (the second null for receipts-only products).
    ``on_receipts`` and ``in_catalog``: where a line is seen; a line with neither is left out.
    ``receipt_price`` is marked up and noisy, ``brand_blank`` says where a receipt hides the brand.
    """

    kind: npt.NDArray[np.int8]
    retail: Bools
    receipt_id: pa.Array
    catalog_id: pa.Array
    on_receipts: Bools
    in_catalog: Bools
    receipt_price: Floats
    brand_blank: Bools


def make_world(source: Source, settings: DemoSettings) -> World:
    """Draw the arrangement of the real data."""
    lines = source.lines
    on_receipts = _routed_to_receipts(lines, settings)
    departments = source.products["department"].to_pylist()
    kind = _kinds(source, on_receipts, settings)
    retail = np.array([name in GROCERY_DEPARTMENTS for name in departments], dtype=np.bool_)
    receipt_id, catalog_id = _names(
        source.products["product_id"].to_numpy(), kind, retail, settings
    )
    return World(
        kind=kind,
        retail=retail,
        receipt_id=receipt_id,
        catalog_id=catalog_id,
        on_receipts=on_receipts,
        in_catalog=~on_receipts & (kind[lines.product] != RECEIPTS_ONLY),
        receipt_price=_receipt_prices(lines, kind.size, settings),
        brand_blank=_blank_brands(lines, kind.size, settings),
    )


def _rng(settings: DemoSettings, stream: int) -> np.random.Generator:
    """Return the generator of one purpose; streams below 10 are the source's."""
    return np.random.default_rng([settings.seed, 10 + stream])


def _routed_to_receipts(lines: Lines, settings: DemoSettings) -> Bools:
    """Send every whole basket to one side, by its household's own preference.

    Preferences are Beta(4 s, 4 (1 - s)) for a receipt share s. Returns a flag a line.
    """
    _, household = np.unique(lines.household, return_inverse=True)
    _, first, basket = np.unique(lines.basket, return_index=True, return_inverse=True)
    rng, share = _rng(settings, 0), settings.receipt_share
    count = int(household.max(initial=-1)) + 1
    if 0.0 < share < 1.0:
        preference = rng.beta(CONCENTRATION * share, CONCENTRATION * (1.0 - share), count)
    else:
        preference = np.full(count, share)
    sent = rng.random(first.size) < preference[household[first]]  # [baskets]
    return np.asarray(sent[basket], dtype=np.bool_)


def _kinds(source: Source, on_receipts: Bools, settings: DemoSettings) -> npt.NDArray[np.int8]:
    """Draw each product's kind.

    Receipts-only are the given share of all products, and the few that no product list holds.
    Direct matches are the given share of the products seen on receipts (or all that a catalog
    holds, where there are fewer), drawn without replacement, the chance ∝ √purchases.
    """
    size = source.products.num_rows
    kind = np.full(size, OPAQUE, dtype=np.int8)
    drawn = _rng(settings, 1).permutation(size)[: round(settings.receipts_only * size)]
    kind[drawn] = RECEIPTS_ONLY
    kind[source.products["department"].is_null().to_numpy()] = RECEIPTS_ONLY
    product = source.lines.product
    seen = np.bincount(product[on_receipts], minlength=size) > 0
    weight = np.sqrt(np.bincount(product, minlength=size))
    able = np.flatnonzero(seen & (kind != RECEIPTS_ONLY))
    # Gumbel keys: the largest k of log weight + noise are a weighted draw without replacement.
    keys = np.log(weight[able]) + _rng(settings, 2).gumbel(size=size)[able]
    count = min(round(settings.direct * int(seen.sum())), able.size)
    kind[able[np.argsort(-keys, kind="stable")[:count]]] = DIRECT
    return kind


def opaque_id(product_id: int, seed: int) -> str:
    """Return the receipt name of a product: 16 hexadecimal digits, keyed by the seed."""
    key = seed.to_bytes(8, "little")
    return hashlib.blake2b(str(product_id).encode(), digest_size=8, key=key).hexdigest()


def _names(
    product_ids: Ints, kind: npt.NDArray[np.int8], retail: Bools, settings: DemoSettings
) -> tuple[pa.Array, pa.Array]:
    """Return each product's receipt id and catalog id (null where no catalog holds it)."""
    domains = DomainSettings()
    on_receipt: list[str] = []
    in_catalog: list[str | None] = []
    for product, code, grocery in zip(
        product_ids.tolist(), kind.tolist(), retail.tolist(), strict=True
    ):
        name = f"{domains.retail if grocery else domains.marketplace}{product}"
        on_receipt.append(name if code == DIRECT else opaque_id(product, settings.seed))
        in_catalog.append(None if code == RECEIPTS_ONLY else name)
    return pa.array(on_receipt, pa.large_string()), pa.array(in_catalog, pa.large_string())


def _receipt_prices(lines: Lines, products: int, settings: DemoSettings) -> Floats:
    """Return the unit price on receipts: real price · product markup · line noise."""
    markup = np.exp(settings.markup * _rng(settings, 3).standard_normal(products))
    noise = np.exp(settings.noise * _rng(settings, 4).standard_normal(lines.product.size))
    return np.asarray(lines.price * markup[lines.product] * noise, dtype=np.float64)


def _blank_brands(lines: Lines, products: int, settings: DemoSettings) -> Bools:
    """Flag the lines without brand: all of some items', half of the others'."""
    whole = _rng(settings, 5).random(products) < settings.brand_missing
    half = _rng(settings, 6).random(lines.product.size) < 0.5
    return np.asarray(whole[lines.product] | half, dtype=np.bool_)
