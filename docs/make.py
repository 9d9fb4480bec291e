"""Makes what the documentation takes from the code: ``python -m docs.make [tables graph api]``.

``tables`` writes docs/tables.md from the schemas, ``graph`` draws docs/graph.svg and .png from the
stages, ``api`` writes the HTML reference of the core to docs/api (not in git). All without words.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import walk_packages
from typing import Final

HERE: Final = Path(__file__).parent


def tables(folder: Path = HERE) -> None:
    """Write ``tables.md``."""
    from docs.tables import tables_page
    from itememb_dagster.assets import STAGES

    (folder / "tables.md").write_text(tables_page(STAGES))


def graph(folder: Path = HERE) -> None:
    """Draw ``graph.svg`` and ``graph.png``."""
    from docs.graph import draw_graph
    from itememb_dagster.assets import STAGES

    draw_graph(STAGES, folder / "graph.svg", folder / "graph.png")


def api(folder: Path = HERE) -> None:
    """Write the API reference of the core, by pdoc; whatever it warns of is an error."""
    import pdoc

    import itememb_core

    # By name: of a package with __all__ pdoc would leave out the modules.
    modules = [each.name for each in walk_packages(itememb_core.__path__, "itememb_core.")]

    pdoc.render.configure(docformat="google", footer_text="itememb", search=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Names imported for type checkers alone are not seen in a NamedTuple's constructor.
        warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef.*__init__\.")
        # A package brings its modules, and they are named besides.
        warnings.filterwarnings("ignore", "The module specification .* already been added")
        pdoc.pdoc("itememb_core", *modules, output_directory=folder / "api")


PARTS: Final[dict[str, Callable[[], None]]] = {"tables": tables, "graph": graph, "api": api}


def main(words: Sequence[str]) -> int:
    """Make the parts that are named, else all; 2 on a word that is none of them."""
    unknown = [word for word in words if word not in PARTS]
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; expected {', '.join(PARTS)}\n")
        return 2
    for word in words or PARTS:
        PARTS[word]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
