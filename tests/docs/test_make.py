"""The committed pages and pictures are what the commands give, and the commands work."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import itememb_core
from docs import graph, make, tables
from itememb_core import schemas
from itememb_dagster.assets import STAGES

DOCS = Path(make.__file__).parent


def test_the_page_of_tables_is_what_the_schemas_say():
    assert (DOCS / "tables.md").read_text() == tables.tables_page(STAGES), "run make docs"


def test_the_page_has_every_table_and_column():
    page = tables.tables_page(STAGES)
    for stage in STAGES:
        assert f"`{stage.key[-1]}`" in page
    sections = dict(re.findall(r"### (.*?)\n(.*?)(?=\n##|\Z)", page, flags=re.DOTALL))
    assert "2^20" in sections["`edges`"]
    assert "`month=YYYY-MM/`" in sections["`edges`"]
    for name in schemas.LINK_POOL.names:
        assert f"\n| `{name}` |" in sections["`link_pool`"]
    assert "`float32[dim]`" in sections["`item_embeddings`"]


def test_the_committed_picture_shows_every_stage():
    nodes, _ = graph.nodes_and_edges(STAGES)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (DOCS / "graph.svg").read_text())
    shown = sorted(texts)
    for line in sorted(line for node in nodes.values() for line in node.label.split("\n")):
        assert line in shown, f"{line}: run make docs"
        shown.remove(line)


def test_arrows_lead_where_inputs_do():
    nodes, arrows = graph.nodes_and_edges(STAGES)
    reach: dict[str, set[str]] = {name: set() for name in nodes}
    for _ in nodes:
        for a, b in arrows:
            reach[b] |= {a} | reach[a]
    for stage in STAGES:
        inputs = {"/".join(spec.key) for spec in stage.inputs.values()}
        assert inputs <= reach[stage.name], stage.name
        direct = {a for a, b in arrows if b == stage.name}
        assert not any(direct & reach[a] for a in direct), f"{stage.name}: an arrow is implied"


def test_no_two_nodes_of_the_picture_overlap():
    nodes, arrows = graph.nodes_and_edges(STAGES)
    place = graph.places(nodes, arrows)
    columns: dict[float, list[float]] = {}
    for x, y in place.values():
        columns.setdefault(x, []).append(y)
    for heights in columns.values():
        assert all(high - low > graph.HEIGHT for low, high in pairwise(sorted(heights)))
    assert {nodes[name].lane for name in place} == set(graph.COLORS)


def test_both_pictures_are_drawn(tmp_path):
    make.graph(tmp_path)
    assert (tmp_path / "graph.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "graph.svg").read_text().count("<text") > len(STAGES)


def test_a_word_that_is_no_part_is_an_error(capsys):
    assert make.main(["tabels"]) == 2
    assert "tabels" in capsys.readouterr().err


@pytest.mark.slow
def test_the_reference_is_made_without_a_warning(tmp_path):
    make.api(tmp_path)
    root = Path(itememb_core.__path__[0])
    modules = [path for path in root.rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) > 50
    for path in modules:
        page = tmp_path / "api" / "itememb_core" / path.relative_to(root).with_suffix(".html")
        assert page.exists(), path
    page = tmp_path / "api" / "itememb_core" / "edges" / "copurchase.html"
    assert "Pairs of distinct items of one basket" in page.read_text()


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.glob("*.md"), DOCS.parent / "CHANGELOG.md"]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_glossary_has_the_words_of_the_project():
    words = {
        word.strip().lower()
        for line in re.findall(r"^\*\*(.+?)\.\*\*", (DOCS / "glossary.md").read_text(), re.M)
        for word in line.split(",")
    }
    wanted = (
        "direct match, known match, held-out match, true match, opaque item, bridge, bag, csls, "
        "hit@k, ndcg@k, coverage, backtest, final, channel, domain, node, blocking, comparison, "
        "log-likelihood ratio, interaction, ground truth, query, staleness, executor, warm start"
    )
    assert [word for word in wanted.split(", ") if word not in words] == []
