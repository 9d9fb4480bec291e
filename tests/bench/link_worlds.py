"""The link path on twelve other worlds, evaluated by their ground truth.

``python -m tests.bench.link_worlds WORK [WORLD ...]`` writes each world's raw data (the demo's
generator with other options), makes its links with the pipeline, evaluates them by ground truth and
keeps the figures in ``WORK/WORLD.json``; worlds that have theirs are not made again, so that a
stopped run resumes. Without names all twelve are made. ``--households SHARE`` makes smaller
worlds, for a quick look; their figures carry the share. Raw data and lake are removed at the end
unless ``--keep`` is given. The table of all figures that are there is printed at the end.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from itememb_core.demo import write_demo
from itememb_core.demo.settings import DemoSettings
from itememb_core.intervals import wilson
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.settings import Settings
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.lake import Lake
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place
from tests.bench.demo_truth import WELL_SEEN, Truth, read_table, read_truth, right_links

#: What a world has other than the demo.
WORLDS: dict[str, dict[str, Any]] = {
    "seed 1": {"seed": 1},
    "seed 2": {"seed": 2},
    "seed 3": {"seed": 3},
    "direct 3 %": {"direct": 0.03},
    "direct 20 %": {"direct": 0.20},
    "receipt share 0.25": {"receipt_share": 0.25},
    "receipt share 0.75": {"receipt_share": 0.75},
    "half the households": {"households": 0.5},
    "no prices": {"no_prices": True},
    "no brands": {"brand_missing": 1.0},
    "receipts-only 0 %": {"receipts_only": 0.0},
    "receipts-only 60 %": {"receipts_only": 0.6},
}
SELECT = '+key:"cross_domain_links"'
#: Held-out matches from which a world must keep its word, and acceptances that hindsight needs.
ENOUGH = 300
#: How far true precision may lie below the target, and coverage below hindsight's.
SLACK, PART = 0.03, 0.6


def make(name: str, work: Path, households: float | None) -> tuple[Path, Path]:
    """Write a world and make its links; the lake and the truth."""
    options = WORLDS[name] | ({"households": households} if households else {})
    return make_lake(name, work / _file(name), options)


def make_lake(
    name: str, folder: Path, options: dict[str, Any], select: str = SELECT
) -> tuple[Path, Path]:
    """Write a world of these options and make the tables selected; the lake and the truth."""
    raw, lake = folder / "raw", folder / "lake"
    if not (raw / "users.pq").is_file():
        write_demo(raw, DemoSettings(**options))
    place = Place.from_env(str(raw), str(lake), None, None)
    outcome = Runner(Request(place, Settings(), None, None, select, False)).run()
    if outcome.errors:
        print(f"{name}: {'; '.join(outcome.errors)}", file=sys.stderr)
    return lake, folder / "raw_truth.parquet"


def evaluate(lake: Path, truth_file: Path) -> dict[str, Any]:
    """What was accepted, how right it is, and what the best threshold in hindsight gives."""
    scorer = LinkScorer.load(Lake(lake).version(("link_scorer",)))
    truth = read_truth(truth_file)
    links = read_table(lake, "cross_domain_links")
    learned = links[links["method"] == "learned"]
    first = read_table(lake, "link_candidates").query("rank == 1")
    target = scorer.target_precision
    best = _hindsight(first, truth, target)
    right = int(right_links(learned, truth).sum())
    low, high = wilson(right / len(learned), len(learned)) if len(learned) else (0.0, 1.0)
    return {
        "held_out": scorer.matches,
        "target": target,
        "direct": int((links["method"] == "direct").sum()),
        "accepted": len(learned),
        "precision": right / len(learned) if len(learned) else None,
        "low": float(low),
        "high": float(high),
        "coverage": _coverage(learned, truth),
        "coverage_all": float(
            learned["receipt_item"].map(truth.true_match).notna().sum()
            / max(int(truth.true_match.notna().sum()), 1)
        ),
        "hindsight_accepted": len(best),
        "hindsight_coverage": _coverage(best, truth),
        "hit@1": _coverage(first[right_links(first, truth)], truth),
        "well_seen": len(truth.well),
        "no_match_share": scorer.population.share,
        "true_no_match_share": float(truth.true_match.isna().mean()),
        "rule": scorer.reason or scorer.rule,
    }


def _coverage(links: Any, truth: Truth) -> float:
    """Share of the well-seen items among these links."""
    return float(links["receipt_item"].isin(truth.well).sum()) / max(len(truth.well), 1)


def _hindsight(first: Any, truth: Truth, wanted: float) -> Any:
    """The first candidates above the best threshold that has the precision wanted."""
    if first["probability"].isna().all():
        first = first.assign(probability=first["csls"])
    ordered = first.sort_values(["probability", "receipt_item"], ascending=[False, True])
    precision = np.cumsum(right_links(ordered, truth)) / np.arange(1, len(ordered) + 1)
    values = ordered["probability"].to_numpy()
    last = np.append(values[1:] != values[:-1], True)[: len(values)]
    good = np.flatnonzero(last & (precision >= wanted))
    return ordered.iloc[: int(good[-1]) + 1 if good.size else 0]


def verdict(found: dict[str, Any]) -> str:
    """Whether a world's links keep their word, as the file's rules say."""
    if found["held_out"] < ENOUGH:
        return "few held out: the rule's"
    if found["hindsight_accepted"] < ENOUGH:
        return "yes" if not found["accepted"] or found["high"] >= found["target"] else "no"
    if not found["accepted"]:
        return "no"
    precise = found["precision"] >= found["target"] - SLACK
    return "yes" if precise and found["coverage"] >= PART * found["hindsight_coverage"] else "no"


def table(work: Path) -> str:
    """All figures that are there, as a Markdown table."""
    lines = [
        "| world | households | held-out matches | target | accepted | true precision "
        f"| coverage of well-seen (≥ {WELL_SEEN}) | the same in hindsight | passes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in WORLDS:
        for path in sorted(work.glob(f"{_file(name)}*.json")):
            found = json.loads(path.read_text())
            precision = "none" if found["precision"] is None else f"{found['precision']:.3f}"
            lines.append(
                f"| {name} | {found['households']:g} | {found['held_out']:,} "
                f"| {found['target']:g} | {found['accepted']:,} | {precision} "
                f"| {found['coverage']:.3f} | {found['hindsight_coverage']:.3f} "
                f"| {verdict(found)} |"
            )
    return "\n".join(lines)


def _file(name: str) -> str:
    return name.replace(" ", "_").replace("%", "pc")


def main(arguments: list[str]) -> int:
    """Make and evaluate worlds that lack their figures; print the table."""
    parser = argparse.ArgumentParser(prog="tests.bench.link_worlds", description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("world", nargs="*", choices=[*WORLDS, []], default=[])
    parser.add_argument("--households", type=float)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    use_dagster_home()
    for name in () if options.table else options.world or WORLDS:
        part = f"_{options.households:g}" if options.households else ""
        figures = options.work / f"{_file(name)}{part}.json"
        if figures.is_file():
            continue
        began = time.process_time(), time.monotonic()
        lake, truth = make(name, options.work, options.households)
        found = evaluate(lake, truth)
        shares = WORLDS[name] | ({"households": options.households} if options.households else {})
        found["households"] = shares.get("households", 1.0)
        found["cpu_s"] = time.process_time() - began[0]
        found["wall_s"] = time.monotonic() - began[1]
        figures.write_text(json.dumps(found, indent=1) + "\n")
        if not options.keep:
            shutil.rmtree(lake.parent)
    print(table(options.work))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
