"""Fixtures that several test modules use."""

from pathlib import Path

import pytest

from tests.world import TinyWorld, write_tiny_world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """The default tiny world; its folder is shared, so tests must not change it."""
    return write_tiny_world(tmp_path_factory.mktemp("tiny") / "raw")


@pytest.fixture(scope="session")
def tiny_raw(tiny_world: TinyWorld) -> Path:
    """The raw folder of the default tiny world; read only."""
    return tiny_world.raw
