"""Files of a raw folder that its layout does not take: misspelt names, most of all.

What does not belong here: what a layout takes (its own module's).
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final

from itememb_core.raw.files import SUFFIXES

#: How alike a name must be to one that the layout knows, to be taken for a misspelt one.
_ALIKE: Final = 0.75
#: Lines that are given; the others are counted.
_LINES: Final = 20


def unclaimed_lines(
    paths: Iterable[str], claimed: Iterable[str], known: Sequence[str], layout: str
) -> list[str]:
    """One line for each folder with files that a layout does not take.

    Args:
        paths: All files of the raw folder.
        claimed: Those that the layout takes, or that have a fault; folders among them count with
            all they hold.
        known: Where the layout's files lie: folders (ending in a slash) and files that stand alone.
        layout: Its name.
    """
    taken = set(claimed)
    folders: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("/")
        if not any("/".join(parts[:n]) in taken for n in range(1, len(parts) + 1)):
            folders.setdefault("/".join(parts[:-1]), []).append(path)
    lines = [_line(folder, sorted(those), known, layout) for folder, those in folders.items()]
    more = len(lines) - _LINES
    return [*lines[:_LINES], *([f"{more} more folders of such files"] if more > 0 else [])]


def _line(folder: str, paths: Sequence[str], known: Sequence[str], layout: str) -> str:
    near = _nearest_folder(folder, known)
    files = {path: _nearest_file(path, known) for path in paths}
    meant = dict.fromkeys(filter(None, [near, *files.values()]))
    hint = f"; did you mean {' or '.join(list(meant)[:3])}?" if meant else ""
    if len(paths) == 1:
        return f"{paths[0]}: not read, layout {layout} has no such file{hint}"
    some = ", ".join(path.rpartition("/")[2] for path in paths[:3])
    dots = ", ..." if len(paths) > 3 else ""
    return (
        f"{folder}/: {len(paths)} files not read ({some}{dots}), layout {layout} has no such "
        f"files{hint}"
    )


def _nearest_folder(folder: str, known: Sequence[str]) -> str | None:
    return _nearest(f"{folder}/", [one for one in known if one.endswith("/")]) if folder else None


def _nearest_file(path: str, known: Sequence[str]) -> str | None:
    """The known file that a path may mean: by its name, or by its folder and its name."""
    stem, dot, suffix = path.rpartition(".")
    if f"{dot}{suffix}".casefold() not in SUFFIXES:
        return None
    return _nearest(stem, [one for one in known if not one.endswith("/")])


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The most alike of known names, by the whole or by its last part alone."""

    def alike(one: str) -> float:
        other = one if one.endswith("/") else one.rpartition(".")[0]
        whole = SequenceMatcher(None, name.casefold(), other.casefold()).ratio()
        last = SequenceMatcher(None, _last(name), _last(other)).ratio()
        return max(whole, 0.9 * last)

    best = max(known, key=alike, default=None)
    return best if best is not None and alike(best) >= _ALIKE else None


def _last(name: str) -> str:
    return name.casefold().rstrip("/").rpartition("/")[2]
