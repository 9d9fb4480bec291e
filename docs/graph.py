"""The picture of the whole graph, from the stages: raw files to users, left to right.

A column is a room of the pipeline. Right of the edges each room has two stacks: the backtest's
above, the final one's below, and between them the evaluation that gates the second by the first.
An arrow that others imply is left out (transitive reduction), so that the rest can be followed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from itememb_dagster.assets import (
    edges,
    evaluation,
    features,
    items,
    links,
    tables,
    users,
    vectors,
)
from itememb_dagster.factory.stage import BACKTEST, Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Columns from left to right, with their headings. Tables made of others have their own.
COLUMNS: Final = {
    "raw": "raw files",
    "tables": "tables",
    "joined": "",
    "edges": "edges",
    "items": "items",
    "features": "features",
    "vectors": "item vectors",
    "links": "links",
    "users": "users",
}
MODULES: Final = {
    "tables": tables,
    "edges": edges,
    "items": items,
    "features": features,
    "vectors": vectors,
    "links": links,
    "users": users,
    "evaluation": evaluation,
}
#: What lies at the root of the lake but is the backtest's.
BACKTEST_ONLY: Final = ("link_holdout", "link_scorer")
#: Face and edge by lane.
COLORS: Final = {
    "raw": ("#ffffff", "#9aa0a6"),
    "shared": ("#eef1f5", "#6b7785"),
    "backtest": ("#fdf0dc", "#c98a1b"),
    "evaluation": ("#fbe3e4", "#c0504d"),
    "final": ("#e1f1e6", "#3c8d5a"),
}
WIDTH, HEIGHT, STEP, ROW = 1.3, 0.56, 1.72, 0.8  # of a node, between columns, between rows


@dataclass(frozen=True)
class Node:
    """A stage, or the raw files that one reads."""

    name: str
    column: str
    lane: str
    daily: bool = False

    @property
    def label(self) -> str:
        """The name as it stands in the box: in two lines where it is long."""
        word = self.name.removeprefix(f"{BACKTEST}/").removeprefix("raw: ")
        if len(word) <= 13 or "_" not in word:
            return word
        cuts = [i + 1 for i, letter in enumerate(word) if letter == "_"]
        cut = min(cuts, key=lambda i: abs(i - len(word) / 2))
        return f"{word[:cut]}\n{word[cut:]}"


Edges = dict[tuple[str, str], bool]
Place = dict[str, tuple[float, float]]


def nodes_and_edges(stages: Sequence[Stage]) -> tuple[dict[str, Node], Edges]:
    """The nodes by name, and the reduced arrows, each with whether it is a gate alone."""
    inputs = {s.name: {"/".join(spec.key) for spec in s.inputs.values()} for s in stages}
    gates = {s.name: {"/".join(key) for key in s.after} - inputs[s.name] for s in stages}
    nodes: dict[str, Node] = {}
    for stage in stages:
        nodes[stage.name] = _node(stage, inputs[stage.name], nodes)

    @cache
    def above(name: str) -> frozenset[str]:
        direct = inputs[name] | gates[name]
        return frozenset(direct.union(*(above(other) for other in direct)))

    edges: Edges = {}
    for name, own in inputs.items():
        direct = own | gates[name]
        implied = set[str]().union(*(above(other) for other in direct))
        edges |= {(other, name): other in gates[name] for other in sorted(direct - implied)}
    for stage in stages:
        if stage.raw:
            source = Node(f"raw: {_raw_label(stage.raw)}", "raw", "raw")
            nodes[source.name] = source
            edges[source.name, stage.name] = False
    return nodes, edges


def _node(stage: Stage, inputs: set[str], known: Mapping[str, Node]) -> Node:
    module = next(name for name, each in MODULES.items() if stage in each.STAGES)
    room = stage.group if stage.group in MODULES else module
    if room == "tables" and inputs:
        room = "joined"
    lane = "shared" if room in ("tables", "joined", "edges") else "final"
    if BACKTEST in (stage.key[0], stage.group) or stage.name in BACKTEST_ONLY:
        lane = "backtest"
    if room == "evaluation":  # stands below the last room that it judges
        lane, rooms = "evaluation", [known[name].column for name in inputs if name in known]
        room = max(rooms, key=list(COLUMNS).index)
    return Node(stage.name, room, lane, stage.daily)


def _raw_label(names: Sequence[str]) -> str:
    if names == ("*",):
        return "every file"
    return "items" if any(name.endswith("_items") for name in names) else names[0]


def places(nodes: Mapping[str, Node], edges: Edges) -> Place:
    """Centre of each node, x to the right and y upwards, in inches."""
    stacks: dict[tuple[str, str], list[str]] = {}
    for name, node in sorted(nodes.items(), key=lambda item: _depth(item[0], edges)):
        stacks.setdefault((node.column, node.lane), []).append(name)

    def rows(lane: str) -> int:
        return max((len(v) for (_, each), v in stacks.items() if each == lane), default=0)

    tall = {lane: rows(lane) for lane in ("backtest", "evaluation", "final")}
    base = {"final": 0.0, "evaluation": tall["final"] + 0.35}
    base["backtest"] = base["evaluation"] + tall["evaluation"] + 0.35
    whole = base["backtest"] + tall["backtest"]
    place: Place = {}
    for (column, lane), names in stacks.items():
        x = list(COLUMNS).index(column) * STEP
        for i, name in enumerate(names):
            if lane in base:  # the backtest's stand on its lower end, near what judges them
                low = base[lane] if lane == "backtest" else base[lane] + tall[lane] - len(names)
                place[name] = (x, (low + len(names) - i - 0.5) * ROW)
            else:
                place[name] = (x, whole * (1 - (i + 0.5) / len(names)) * ROW)
    for _ in range(8):
        for (column, lane), names in stacks.items():
            if lane not in base and column != "joined":
                _by_barycenter(names, edges, place)
    return place


def _depth(name: str, edges: Edges) -> int:
    """Arrows on the longest way to a node."""
    return max((1 + _depth(a, edges) for a, b in edges if b == name), default=0)


def _by_barycenter(names: list[str], edges: Edges, place: Place) -> None:
    """Give a column's slots to its nodes in the order of the mean height of their neighbours."""

    def mean(name: str) -> float:
        near = [a if b == name else b for a, b in edges if name in (a, b)]
        return sum(place[each][1] for each in near) / max(len(near), 1)

    slots = sorted((place[name][1] for name in names), reverse=True)
    for slot, name in zip(slots, sorted(names, key=mean, reverse=True), strict=True):
        place[name] = (place[name][0], slot)


def draw_graph(stages: Sequence[Stage], svg: Path, png: Path) -> None:
    """Draw the picture into both files."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    nodes, edges = nodes_and_edges(stages)
    place = places(nodes, edges)
    right = (len(COLUMNS) - 1) * STEP + WIDTH / 2 + 0.62
    top = max(y for _, y in place.values()) + HEIGHT / 2
    left, low, high = -WIDTH / 2 - 0.12, -0.55, top + 0.5
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "itememb", "font.size": 9.5}):
        figure = Figure(figsize=(right - left, high - low))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(left, right), ylim=(low, high))
        axes.axis("off")
        _draw_lanes(axes, nodes, place, right)
        for (a, b), gate in edges.items():
            _draw_edge(axes, (a, b), gate, nodes, place)
        for name, node in nodes.items():
            _draw_node(axes, node, *place[name])
        for i, title in enumerate(COLUMNS.values()):
            axes.text(i * STEP, top + 0.24, title, ha="center", weight="bold", size=11)
        _draw_legend(axes, left)
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=160)


def _draw_node(axes: "Axes", node: Node, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    face, edge = COLORS[node.lane]
    corner, style = (x - WIDTH / 2, y - HEIGHT / 2), "round,pad=0,rounding_size=0.09"
    if node.daily:  # as a pile: one file a day
        behind = (corner[0] + 0.05, corner[1] - 0.05)
        axes.add_patch(FancyBboxPatch(behind, WIDTH, HEIGHT, style, fc=face, ec=edge, zorder=3))
    line = "--" if node.lane == "raw" else "-"
    axes.add_patch(
        FancyBboxPatch(corner, WIDTH, HEIGHT, style, fc=face, ec=edge, ls=line, zorder=4)
    )
    axes.text(x, y, node.label, ha="center", va="center", zorder=5, linespacing=1.05)


def _draw_lanes(axes: "Axes", nodes: Mapping[str, Node], place: Place, right: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    for lane in ("backtest", "evaluation", "final"):
        own = [place[name] for name, node in nodes.items() if node.lane == lane]
        left = list(COLUMNS).index("items") * STEP - WIDTH / 2 - 0.16
        low = min(y for _, y in own) - HEIGHT / 2 - 0.14
        high = max(y for _, y in own) + HEIGHT / 2 + 0.14
        face, edge = COLORS[lane]
        style = "round,pad=0,rounding_size=0.12"
        patch = FancyBboxPatch(
            (left, low), right - 0.08 - left, high - low, style, fc=face, ec="none"
        )
        patch.set(alpha=0.35, zorder=0)
        axes.add_patch(patch)
        where = (right - 0.2, (low + high) / 2)
        axes.text(*where, lane, rotation=-90, ha="center", va="center", color=edge, weight="bold")


def _draw_edge(axes: "Axes", ends: tuple[str, str], gate: bool, nodes: Mapping[str, Node],
               place: Place) -> None:  # fmt: skip
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    gated = "evaluation" if nodes[ends[0]].lane == "evaluation" else nodes[ends[1]].lane
    color = COLORS[gated][1]
    points = list(_route(*ends, nodes, place))
    curve = Curve(points, [Curve.MOVETO] + [Curve.CURVE4] * (len(points) - 1))
    arrow = FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0)
    arrow.set(color=color, lw=1.1, alpha=0.8, zorder=2, ls=(0, (3, 2)) if gate else "-")
    axes.add_patch(arrow)


def _route(start: str, end: str, nodes: Mapping[str, Node],
           place: Place) -> Iterator[tuple[float, float]]:  # fmt: skip
    """Points of Bézier curves from one node to the other, past all that stand between."""
    (x0, y0), (x1, y1) = place[start], place[end]
    if x0 == x1:
        yield from _within_column(x0, y0, y1, [y for x, y in place.values() if x == x0])
        return
    if x1 < x0:  # back to the left: below the one, down beside the other, into its right side
        low, side = y0 - HEIGHT, (x1 + WIDTH / 2 + 0.25)
        yield from ((x0, y0 - HEIGHT / 2), (x0, low), (x0, low), ((x0 + side) / 2, low))
        yield from ((side, low), (side, low), (side, (low + y1) / 2))
        yield from ((side, y1), (side, y1), (x1 + WIDTH / 2, y1))
        return
    a, b = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)
    between = sorted({x for x, _ in place.values() if x0 < x < x1})
    yield a
    if between:
        y = _free_height(y0, y1, [p for p in place.values() if p[0] in between])
        enter, leave = (between[0] - WIDTH / 2, y), (between[-1] + WIDTH / 2, y)
        yield from (*_bend(a, enter), enter, enter, leave, leave)
        a = leave
    yield from (*_bend(a, b), b)


def _bend(a: tuple[float, float], b: tuple[float, float]) -> Iterator[tuple[float, float]]:
    middle = (a[0] + b[0]) / 2
    yield from ((middle, a[1]), (middle, b[1]))


def _free_height(y0: float, y1: float, between: Sequence[tuple[float, float]]) -> float:
    """The height nearest to both ends at which no node lies in the columns between."""
    heights = [low / 50 for low in range(-20, 600)]
    room = HEIGHT / 2 + 0.06
    free = [y for y in heights if all(abs(y - other) > room for _, other in between)]
    return min(free, key=lambda y: abs(y - y0) + abs(y - y1) + 0.1 * abs(y - y1))


def _within_column(x: float, y0: float, y1: float,
                   others: Sequence[float]) -> Iterator[tuple[float, float]]:  # fmt: skip
    """Down, or up, to the next node of a column; past others by a bow on the right."""
    low, high = sorted((y0, y1))
    if not any(low < y < high for y in others):
        half = HEIGHT / 2 if y1 > y0 else -HEIGHT / 2
        a, b = (x, y0 + half), (x, y1 - half)
        yield from (a, (x, a[1] * 2 / 3 + b[1] / 3), (x, a[1] / 3 + b[1] * 2 / 3), b)
        return
    side = x + WIDTH / 2
    out = side + min(0.14 + 0.06 * (high - low) / ROW, 0.34)
    yield from ((side, y0), (out, y0), (out, y1), (side, y1))


def _draw_legend(axes: "Axes", left: float) -> None:
    words = (
        "a pile: one file a day      "
        "dashed: waits for it and its checks      "
        "an arrow that others imply is left out"
    )
    axes.text(left + 0.12, -0.4, words, size=9, color="#555555", va="center")
