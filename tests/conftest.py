"""Fixtures that several test modules use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from itememb_dagster.automation.outcome import Outcome
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place
from tests.worlds import two_months
from tests.worlds.tiny import TinyWorld, write_tiny_world

#: Files whose tests take minutes: begun last, they would leave a core idle.
LONG = (
    "test_readme", "test_spark", "test_browser", "test_executor", "test_wheel", "test_worlds",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    rank = {name: n for n, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """The default tiny world; its folder is shared, so tests must not change it."""
    return write_tiny_world(tmp_path_factory.mktemp("tiny") / "raw")


@pytest.fixture(scope="session")
def tiny_raw(tiny_world: TinyWorld) -> Path:
    """The raw folder of the default tiny world; read only."""
    return tiny_world.raw


SMALL = (
    "holdout_days=7",
    "bridge_edges.enabled=true",
    "content_features.title_buckets=4096",
    "item_model.dim=32",
    "item_model.max_steps=500",
    "item_model.batch_size=256",
    "feature_model.steps=100",
    "feature_model.hidden=32",
    "user_model.dim=16",
    "user_model.hidden=16",
    "user_model.batch_size=16",
    "user_model.negatives=64",
    "user_histories.shards=2",
)
TINY_SETTINGS = parse_settings(SMALL)
#: The same for the command.
TINY_OPTIONS = [word for setting in SMALL for word in ("--set", setting)]


def place_for(raw: Path, lake: Path) -> Place:
    """A raw folder and a lake with the default epoch on DuckDB."""
    return Place.from_env(str(raw), str(lake), "2017-01-01", "duckdb")


def run(raw: Path, lake: Path, **options) -> Outcome:
    """Run everything on a raw folder, with tiny settings unless ``settings`` are given."""
    settings = options.pop("settings", TINY_SETTINGS)
    return Runner(Request(place_for(raw, lake), settings, **options)).run()


def table(lake: Path, name: str) -> pd.DataFrame:
    """A table of the lake as people read it."""
    return pd.read_parquet(lake / name)


@pytest.fixture(scope="session", autouse=True)
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One DAGSTER_HOME for all tests, so that lakes under one home are the rule."""
    os.environ["ITEMEMB_WORKERS"] = "1"  # tests run side by side themselves
    os.environ["DAGSTER_HOME"] = str(tmp_path_factory.mktemp("home"))
    return use_dagster_home()


@pytest.fixture(scope="session")
def made(tiny_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A lake that holds everything made of the tiny world; tests must not change it."""
    lake = tmp_path_factory.mktemp("made") / "lake"
    return lake, run(tiny_raw, lake)


@pytest.fixture(scope="session")
def months_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw folder of ``two_months``; tests must not change it."""
    return two_months.write(tmp_path_factory.mktemp("two_months") / "raw")


@pytest.fixture(scope="session")
def months_lake(months_raw: Path) -> Path:
    """The lake of ``two_months``; tests must not change it."""
    lake = months_raw.parent / "lake"
    assert two_months.make(months_raw, lake).errors == []
    return lake


@pytest.fixture
def copies(months_raw: Path, months_lake: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The raw folder of ``two_months`` and its lake, to be changed."""
    shutil.copytree(months_raw, tmp_path / "raw")
    shutil.copytree(months_lake, tmp_path / "lake")
    return tmp_path / "raw", tmp_path / "lake"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Steps of tiny models are too small to share between threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
