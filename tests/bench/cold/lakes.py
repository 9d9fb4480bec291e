"""The two lakes of a world: ``warm`` saw the items that ``cold`` has hidden from it.

What belongs here: running the pipeline, reading what is measured.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.evaluation.items.baskets import holdout_baskets
from itememb_core.features.fused import read_features
from itememb_core.items.vectors import vectors
from itememb_core.items.vocabulary import ALL_SIDE, node_counts, node_index
from itememb_core.services import RECEIPT_DOMAIN
from itememb_core.settings import Settings
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.lake import Lake
from itememb_dagster.lake.reader import load_arrow
from itememb_dagster.runtime.engine import connect, read_parts
from itememb_dagster.runtime.place import EMBEDDED, Place

#: What is made always, with ``--users``, and with ``--recommendations``.
ITEMS = ("backtest/item_embeddings", "item_evaluation", "backtest/item_features")
USERS = ("user_histories", "backtest/user_model", "user_evaluation")
RECOMMENDATIONS = ("recommendations",)
CATALOG_EVENTS = ("retail_events", "marketplace_events", "offers_events")

Floats = NDArray[np.float32]
Nodes = NDArray[np.int64]


def make_lake(raw: Path, lake: Path, assets: Sequence[str], epoch: date) -> date | None:
    """Make what is stale of these assets and all before them; the cut."""
    place = Place.from_env(str(raw), str(lake), epoch.isoformat(), None)
    select = " or ".join(f'+key:"{name}"' for name in assets)
    runner = Runner(Request(place, Settings(), select=select))
    outcome = runner.run()
    if outcome.errors:
        print(f"{lake}: {'; '.join(outcome.errors)}", file=sys.stderr)
    if outcome.interrupted:
        raise SystemExit(130)
    return runner.planner().cut


@dataclass(frozen=True)
class BacktestLake:
    """What a lake's backtest knows of items, by node of its vocabulary."""

    folder: Path

    @cached_property
    def lake(self) -> Lake:
        """Where the tables lie."""
        return Lake(self.folder)

    def table(self, *key: str) -> pa.Table:
        """One of its tables."""
        return load_arrow(self.lake, key)

    @cached_property
    def vocabulary(self) -> pa.Table:
        """``schemas.VOCABULARY`` of the backtest."""
        return self.table("backtest", "vocabulary")

    @cached_property
    def embeddings(self) -> pa.Table:
        """Item vectors of the backtest, a row a node; of any width."""
        return self.table("backtest", "item_embeddings")

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Training events, ``[nodes, channels]``."""
        return node_counts(self.vocabulary)

    @cached_property
    def unit(self) -> Floats:
        """``embedding``, ``[nodes, dim]``."""
        return vectors(self.embeddings)

    @cached_property
    def context(self) -> Floats:
        """``context``, ``[nodes, dim]``."""
        return vectors(self.embeddings, self.unit.shape[1], "context", unit=False)

    @cached_property
    def bias(self) -> Floats:
        """``bias``, ``[nodes]``."""
        return self.embeddings["bias"].to_numpy().astype(np.float32)

    @cached_property
    def seen_catalog(self) -> Nodes:
        """Nodes of catalog items with training events: what stand-ins are made of."""
        whole = pc.equal(self.vocabulary["side"], ALL_SIDE)
        catalog = pc.not_equal(self.vocabulary["domain"], RECEIPT_DOMAIN)
        able = pc.and_(whole, catalog).to_numpy() & (self.counts.sum(axis=1) > 0)
        return np.flatnonzero(able)

    @cached_property
    def domains(self) -> NDArray[np.object_]:
        """Domain of each node."""
        return self.vocabulary["domain"].to_numpy(zero_copy_only=False)

    def nodes(self, ids: pa.Array, channel: str) -> Nodes:
        """Node of each id in a channel."""
        return node_index(self.vocabulary, ids, channel).astype(np.int64)

    def features(self) -> Floats:
        """Unit rows of ``item_features`` without popularity; zeros where nothing is known."""
        found = read_features(self.table("backtest", "item_features"))
        names = [name for name in found.dims if name != "popularity"]
        joined = np.concatenate([found.block(name).values for name in names], axis=1)
        norms = np.linalg.norm(joined, axis=1, keepdims=True)
        return np.ascontiguousarray(joined / np.where(norms > 0, norms, 1.0), np.float32)

    def baskets(self, cut: date) -> pa.Table:
        """Holdout baskets as ``item_evaluation`` sees them."""
        con = connect(EMBEDDED, self.folder)
        events = [read_parts(con, self.lake.parts((name,))) for name in CATALOG_EVENTS
                  if self.lake.parts((name,))]  # fmt: skip
        receipts = read_parts(con, self.lake.parts(("receipts",)))
        both = ibis.union(*events) if len(events) > 1 else events[0]
        gap = Settings().coview_edges.gap_minutes
        return holdout_baskets(receipts, both, cut, gap).to_pyarrow()
