"""Links on worlds whose receipts carry text as tills print it, evaluated by their ground truth.

``python -m tests.bench.link_text WORK [WORLD ...]`` writes each world twice, with texts and
without, makes its links with the pipeline, and keeps the figures in ``WORK/WORLD[_plain].json``;
what has its figures is not made again. ``--households SHARE`` makes smaller worlds, for a quick
look. ``--keep`` keeps raw data and lakes. The table of all figures is printed at the end.

Wanted with texts: top-1 of the well-seen 0.85, their coverage 0.65 at a target of 0.95, a true
precision of 0.94.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from itememb_dagster.runtime.home import use_dagster_home
from tests.bench.demo_truth import WELL_SEEN, read_table, score_links
from tests.bench.link_worlds import SELECT, evaluate, make_lake

#: What a world has other than the demo; more than one, so that nothing fits one of them.
WORLDS: dict[str, dict[str, Any]] = {
    "seed_0": {},
    "seed_1": {"seed": 1},
    "seed_2_direct_3pc": {"seed": 2, "direct": 0.03},
    "seed_3_direct_20pc": {"seed": 3, "direct": 0.20},
}
#: Kinds of a world: name of its files' end, and the option.
KINDS = {"": True, "_plain": False}
EVALUATED = f'{SELECT} or +key:"link_evaluation"'
#: Figures of the table: heading, name, least value wanted with texts.
SHOWN = (
    (f"top-1 of well-seen (≥ {WELL_SEEN})", "hit@1", 0.85),
    ("coverage of well-seen", "coverage", 0.65),
    ("true precision", "precision", 0.94),
    ("coverage of all with a true match", "coverage_all", None),
    ("coverage in hindsight", "hindsight_coverage@0.95", None),
    ("pool holds", "pool_holds", None),
)


def figures(lake: Path, truth: Path) -> dict[str, Any]:
    """Figures by ground truth, and what the lake's own validation found of texts."""
    found = evaluate(lake, truth) | score_links(lake, truth)
    own = read_table(lake, "link_evaluation").query("slice == 'with_text'")
    found["use"] = own[["method", "metric", "value", "low", "high"]].to_dict("records")
    return found


def run(work: Path, world: str, kind: str, households: float | None, keep: bool) -> None:
    """Make one kind of a world and keep its figures."""
    part = f"_{households:g}" if households else ""
    path = work / f"{world}{part}{kind}.json"
    if path.is_file():
        return
    began = time.monotonic()
    options = WORLDS[world] | {"receipt_text": KINDS[kind]}
    options |= {"households": households} if households else {}
    lake, truth = make_lake(world, work / path.stem, options, EVALUATED)
    found = figures(lake, truth) | {"seconds": time.monotonic() - began}
    path.write_text(json.dumps(found, indent=1) + "\n")
    if not keep:
        shutil.rmtree(lake.parent)


def table(work: Path) -> str:
    """All figures that are there, as a Markdown table."""
    lines = [
        "| world | text | held-out matches | "
        + " | ".join(head for head, *_ in SHOWN)
        + " | passes |",
        "|" + "---|" * (len(SHOWN) + 4),
    ]
    for path in sorted(work.glob("*.json")):
        found, plain = json.loads(path.read_text()), path.stem.endswith("_plain")
        values = [found.get(name) for _, name, _ in SHOWN]
        shown = ["none" if value is None else f"{value:.3f}" for value in values]
        least = [(value, low) for value, (*_, low) in zip(values, SHOWN, strict=True) if low]
        passes = "" if plain else "yes" if all((v or 0.0) >= low for v, low in least) else "no"
        head = f"| {path.stem} | {'no' if plain else 'yes'} | {found['held_out']:,} | "
        lines.append(head + " | ".join(shown) + f" | {passes} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Make and evaluate worlds that lack their figures; print the table."""
    parser = argparse.ArgumentParser(prog="tests.bench.link_text", description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("world", nargs="*", choices=[*WORLDS, []], default=[])
    parser.add_argument("--households", type=float)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--text-only", action="store_true", help="Not the worlds without texts.")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    use_dagster_home()
    for world in options.world or WORLDS:
        for kind in [""] if options.text_only else KINDS:
            run(options.work, world, kind, options.households, options.keep)
    print(table(options.work))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
