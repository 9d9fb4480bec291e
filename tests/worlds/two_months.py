"""A raw folder of ten days of two months, and the tables that are made of it without any model."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from itememb_dagster.automation.outcome import Outcome
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.runtime.place import Place
from tests.worlds.tiny import FOLDERS, write_tiny_world

#: Edges by month, bridges, and all before them.
TABLES = '+key:"edges" or +key:"bridge_edges" or +key:"backtest/edges"'
#: The number of January 26, so that the days are of two months.
FIRST = 25
DAYS = 10
HOLDOUT = "holdout_days=7"
#: With the bridge's table, which is off by default.
SET = (HOLDOUT, "bridge_edges.enabled=true")


def write(raw: Path) -> Path:
    """Raw files of January 26 to February 4."""
    return write_tiny_world(raw, days=DAYS, users=20, first_day=FIRST).raw


def make(raw: Path, lake: Path, assignments: Sequence[str] = SET) -> Outcome:
    """Run up to ``TABLES``."""
    place = Place.from_env(str(raw), str(lake), "2017-01-01", "duckdb")
    return Runner(Request(place, parse_settings(tuple(assignments)), select=TABLES)).run()


def file_of(raw: Path, channel: str, day: int) -> Path:
    """Day file of a channel, by the number of the day in the world from 0."""
    return raw / FOLDERS[channel] / f"{FIRST + day:05}.pq"


def date_of(day: int) -> date:
    """The date of a day of the world."""
    return date(2017, 1, 1) + timedelta(days=FIRST + day)
