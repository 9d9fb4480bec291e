"""A raw folder of the first days alone: what has few days is made in little time."""

from pathlib import Path


def keep_days(raw: Path, days: int) -> None:
    """Remove the files of all days but the first ones."""
    for path in raw.glob("**/[0-9]*.pq"):
        if int(path.stem) >= days:
            path.unlink()
