"""A small world with known matches: vectors around shared latent points, shared buyers, hubs."""

import numpy as np
import pyarrow as pa

from itememb_core import schemas
from itememb_core.links.evidence import ReceiptFacts
from itememb_core.links.pool import LinkData

USERS = 120


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def embeddings_table(
    values, ids, *, sides=None, domains=None, sources=None, context=None, bias=None
):
    n, dim = values.shape
    context = values if context is None else context
    columns = [
        pa.array(ids, pa.string()),
        pa.array(sides or ["all"] * n, pa.string()),
        pa.array(domains or ["receipt"] * n, pa.string()),
        pa.array(sources or ["behaviour"] * n, pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), dim),
        pa.FixedSizeListArray.from_arrays(pa.array(context.astype(np.float32).ravel()), dim),
        pa.array(np.zeros(n) if bias is None else bias, pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=schemas.item_embeddings(dim))


def vocabulary_table(rows):
    """Rows (item_id, side, domain, receipts, retail, marketplace, offers)."""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 7
    arrays = [pa.array(range(len(rows)), pa.int32())]
    arrays += [pa.array(columns[i], schemas.VOCABULARY.field(i + 1).type) for i in range(7)]
    return pa.Table.from_arrays(arrays, schema=schemas.VOCABULARY)


def no_facts():
    prices = {name: pa.array([], pa.float64()) for name in ("low", "middle", "high")}
    ids, whole = pa.array([], pa.string()), pa.array([], pa.int64())
    return ReceiptFacts(
        pa.table({"item_id": ids} | prices),
        pa.table({"item_id": ids, "brand_id": whole, "n": whole}),
    )


def no_catalog():
    return schemas.CATALOG.empty_table()


def pool_table(*rows):
    """A pool of rows given as dicts; what is not given is null."""
    return pa.Table.from_pylist(list(rows), schema=schemas.LINK_POOL)


def user_items_table(rows):
    """Rows (day since 1970, user, channel, item)."""
    day, user, channel, item = zip(*rows, strict=True) if rows else ((),) * 4
    n = len(rows)
    return pa.table(
        {
            "day": pa.array(day, pa.int32()).cast(pa.date32()),
            "user_id": pa.array(user, pa.int64()),
            "channel": pa.array(channel, pa.string()),
            "item_id": pa.array(item, pa.string()),
            "n": pa.array([1] * n, pa.int64()),
            "strength": pa.array([8] * n, pa.int32()),
        }
    )


class World:
    """``matches`` held-out matches, ``opaque`` items with a true match, ``alone`` without one.

    ``extra`` catalog items have no receipts. Without ``signal`` the two sides have nothing in
    common, as without the bridge.
    """

    def __init__(
        self, *, matches=400, opaque=600, alone=200, extra=300, noise=0.5, seed=0, signal=True
    ):
        rng = np.random.default_rng(seed)
        dim, matched = 24, matches + opaque
        latent = rng.normal(size=(matched, dim))
        catalog = latent + noise * rng.normal(size=latent.shape)
        other = latent if signal else rng.normal(size=latent.shape)
        receipts = other + noise * rng.normal(size=latent.shape)
        lonely, more = rng.normal(size=(alone, dim)), rng.normal(size=(extra, dim))
        hubs = 0.3 * rng.normal(size=(5, dim)) + receipts.mean(axis=0)
        counts = 1 + rng.geometric(0.08, size=(3, matched + alone + extra + 5))
        rows, values = [], []

        def add(item, side, domain, vector, *, receipts=0, retail=0):
            rows.append((item, side, domain, int(receipts), int(retail), 0, 0))
            values.append(vector)

        for i in range(matches):
            add(f"fmcg_{i:05d}", "all", "retail", catalog[i], retail=counts[1, i])
            add(f"fmcg_{i:05d}", "receipts", "retail", receipts[i], receipts=counts[0, i])
        for i in range(matches, matched):
            add(f"fmcg_{i:05d}", "all", "retail", catalog[i], retail=counts[1, i])
            add(f"o{i:05d}", "all", "receipt", receipts[i], receipts=counts[0, i])
        for i, vector in enumerate(lonely):
            add(f"alone{i:05d}", "all", "receipt", vector, receipts=counts[0, matched + i])
        for i, vector in enumerate([*more, *hubs]):
            add(f"fmcg_x{i:05d}", "all", "retail", vector, retail=counts[1, matched + i])
        add("fmcg_direct", "all", "retail", rng.normal(size=dim), receipts=4, retail=3)
        add("fmcg_nobody", "all", "retail", rng.normal(size=dim))
        self._tables(rows, np.array(values), rng.permutation(len(rows)))
        self.seed, self.signal = seed, signal
        self.holdout = pa.table({"item_id": [f"fmcg_{i:05d}" for i in range(matches)]})
        self.truth = {f"o{i:05d}": f"fmcg_{i:05d}" for i in range(matches, matched)}

    def _tables(self, rows, values, order):
        self.rows = [rows[i] for i in order]
        self.values = unit(values[order])
        self.vocabulary = vocabulary_table(self.rows)
        self.embeddings = embeddings_table(
            self.values,
            [row[0] for row in self.rows],
            sides=[row[1] for row in self.rows],
            domains=[row[2] for row in self.rows],
        )

    def data(self, bought=True):
        """What the pool is made of; matches share their buyers where there is a signal."""
        entries = []
        for number, (item, _, _, receipts, retail, *_) in enumerate(self.rows if bought else ()):
            product = self.truth.get(item, item)
            own = [] if self.signal or not receipts else [1]
            stream = [self.seed, *own, *product.encode()]
            taste = np.random.default_rng(stream).gamma(0.1, size=USERS) + 1e-9
            rng = np.random.default_rng([self.seed, 7, number])
            for total, channel in ((receipts, "receipts"), (retail, "retail")):
                users = rng.choice(USERS, total, p=taste / taste.sum())
                days = 17_200 + rng.integers(0, 330, total)
                entries += [(d, u, channel, item) for d, u in zip(days, users, strict=True)]
        table = user_items_table(entries)
        return LinkData(self.embeddings, self.vocabulary, table, no_facts(), no_catalog())
