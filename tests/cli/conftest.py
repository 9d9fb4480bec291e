"""A lake made by hand, and the command called as people call it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import schemas
from itememb_core.items.index import build_index
from itememb_core.links.scorer.acceptance import Acceptance
from itememb_core.links.scorer.comparisons import FEATURES
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.links.scorer.population import Population
from itememb_core.settings import ItemIndexSettings
from itememb_dagster.lake import Lake, Stamp
from tests.worlds.links import embeddings_table, unit, vocabulary_table

#: As long as a UUID: two of them fill a terminal of 80 columns.
RECEIPT_ID = "5f0c5a3e-8d6f-4a52-9a1e-2f4515a0c7d1"
CATALOG_ID = "fmcg_7b1de0a4-63c8-4f6e-b3a9-d2c4e8f01a67"
ESCAPE_ID = "fmcg_escape"
USER = 7
TITLES = {
    CATALOG_ID: "[bold]Milk[/b] of a very long name that no column of a terminal has room for",
    ESCAPE_ID: "red \x1b[31m\x07\r\nalarm",
}


def small_lake(root: Path) -> Lake:
    """Three items with vectors, an index, titles, links without a scorer, recommendations."""
    lake = Lake(root)
    ids = [RECEIPT_ID, CATALOG_ID, ESCAPE_ID]
    rows = [
        (RECEIPT_ID, "all", "receipt", 5, 0, 0, 0),
        (CATALOG_ID, "all", "retail", 0, 4, 0, 0),
        (ESCAPE_ID, "all", "retail", 0, 3, 0, 0),
    ]
    angles = np.radians([0, 10, 50])
    values = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    vocabulary = vocabulary_table(rows)
    embeddings = embeddings_table(values, ids, domains=[row[2] for row in rows])
    pairs = [
        {"receipt_item": RECEIPT_ID, "catalog_item": item, "rank": rank, "probability": 0.9 / rank}
        for rank, item in enumerate(ids[1:], 1)
    ]
    found = [{"user_id": USER, "item_id": CATALOG_ID, "rank": 1, "score": 0.5}]
    titles = [{"item_id": item, "title": title} for item, title in TITLES.items()]
    for name, table in {
        "vocabulary": vocabulary,
        "item_embeddings": embeddings,
        "catalog": pa.Table.from_pylist(titles, schema=schemas.CATALOG),
        "link_candidates": pa.Table.from_pylist(pairs, schema=schemas.LINK_CANDIDATES),
        "cross_domain_links": schemas.CROSS_DOMAIN_LINKS.empty_table(),
        "recommendations": pa.Table.from_pylist(found, schema=schemas.RECOMMENDATIONS),
    }.items():
        lake.table((name,)).mkdir(parents=True)
        pq.write_table(table, lake.part((name,)))
    index = build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0)
    for name, value in {"item_index": index, "link_scorer": no_scorer()}.items():
        with lake.new_version((name,), Stamp(name, "", {}, "")) as folder:
            value.save(folder)
    with lake.new_version(("item_model",), Stamp("item_model", "", {}, "")) as folder:
        for name in ("training_history.png", "model.safetensors"):
            (folder / name).write_text(name)
    return lake


def no_scorer() -> LinkScorer:
    """What is stored where there were too few held-out matches."""
    acceptance = Acceptance(None, None, None, None, 0.0)
    population = Population((1,), (0.5,), estimated=False)
    counts = {"matches": 0, "unseen": 0, "absent": 0, "found": 0}
    return LinkScorer(
        features=FEATURES, model=None, by_fold=(), seed=0, acceptance=acceptance,
        target_precision=0.95, population=population, importances={}, strict=True,
        rule="no rule", reason="too few held-out matches", **counts,
    )  # fmt: skip


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small lake; tests must not change it."""
    return small_lake(tmp_path_factory.mktemp("cli") / "lake").root


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Itememb = Callable[..., Ended]


@pytest.fixture
def itememb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Itememb:
    """Call ``itememb`` in an empty folder, its output no terminal."""
    from itememb_dagster.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["itememb", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capsys.readouterr())

    return call
