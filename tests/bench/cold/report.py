"""One table of the figures of all worlds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.cold.figures import COLD, WARM

HEADER = (
    "| world | what | ranked among | queries | metric | method | value | share of warm "
    "| features minus it |\n|---|---|---|---|---|---|---|---|---|"
)
#: Metrics that are shown; the JSON files have all.
SHOWN = ("hit@100", "hit@tenth")


def table(work: Path) -> str:
    """All figures that are there, as a Markdown table; notes below it."""
    lines, notes = [HEADER], []
    for path in sorted(work.glob("*.json")):
        found = json.loads(path.read_text())
        for channel, one in found["goes_with"].items():
            for among in ("cold", "all"):
                what = f"goes with, {channel}"
                lines += _rows(found["world"], what, among, one["queries"], one[among])
        users = found.get("users", {})
        if "note" in users:
            notes.append(f"{found['world']}: {users['note']}")
        for name, one in users.items():
            if isinstance(one, dict):
                lines += _rows(found["world"], f"users, {name}", "cold", one["users"], one)
    return "\n".join([*lines, *notes])


def _rows(world: str, what: str, among: str, queries: int, one: dict[str, Any]) -> Iterator[str]:
    """A row a metric and method, the cold items' own first."""
    first = {COLD: 0, WARM: 1}
    for metric in SHOWN:
        for method in sorted(one["means"], key=lambda name: first.get(name, 2)):
            if metric not in one["means"][method]:
                continue
            value = one["means"][method][metric]
            share = _interval(one["share"].get(metric)) if method == COLD else ""
            over = _interval(one["over"].get(method, {}).get(metric))
            yield (
                f"| {world} | {what} | {among} {one['candidates']:,} | {queries:,} | {metric} "
                f"| {method} | {value:.3f} | {share} | {over} |"
            )


def _interval(found: list[float] | None) -> str:
    return "" if found is None else f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"
