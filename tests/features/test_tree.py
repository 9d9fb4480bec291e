"""The category tree of a catalog: names by path, one root, every item in its place."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.categories.poincare import fit_poincare
from itememb_core.features.categories.tree import ROOT, category_embeddings, category_tree
from itememb_core.features.inputs import SEPARATOR

CATALOG = pa.table({
    "item_id": ["a", "b", "c", "d", "e"],
    "domain": ["retail", "retail", "marketplace", "retail", "marketplace"],
    "category_path": [["drinks", "tea"], ["drinks"], ["drinks", "tea"], None, ["drinks", "drinks"]],
})  # fmt: skip


def shown(name: str) -> str:
    return name.replace(SEPARATOR, " > ")


def test_equal_names_under_other_parents_are_other_categories():
    tree = category_tree(CATALOG)
    edges = {(shown(child), shown(parent)) for child, parent in tree.edges}
    assert edges == {
        (ROOT, ROOT),
        ("retail", ROOT),
        ("retail > drinks", "retail"),
        ("retail > drinks > tea", "retail > drinks"),
        ("marketplace", ROOT),
        ("marketplace > drinks", "marketplace"),
        ("marketplace > drinks > tea", "marketplace > drinks"),
        ("marketplace > drinks > drinks", "marketplace > drinks"),
    }
    assert len(tree.edges) == len(set(tree.edges))
    assert [name and shown(name) for name in tree.of_item.to_pylist()[:4]] == [
        "retail > drinks > tea", "retail > drinks", "marketplace > drinks > tea", None,
    ]  # fmt: skip
    assert tree.levels == 3


def test_items_of_one_category_lie_together_and_those_of_none_are_zero():
    more = pa.table({
        "item_id": ["f"], "domain": ["retail"], "category_path": [["drinks", "tea"]],
    })  # fmt: skip
    catalog = pa.concat_tables([CATALOG, more])
    embedding = fit_poincare(category_tree(catalog).edges, 3)
    table = category_embeddings(catalog, embedding)
    assert table.schema == schemas.category_embeddings(3)
    rows = table.to_pylist()
    assert [row["has_hierarchy"] for row in rows] == [True, True, True, False, True, True]
    assert rows[0]["hierarchy"] == rows[5]["hierarchy"] != rows[2]["hierarchy"]
    assert rows[3]["hierarchy"] == [0, 0, 0]
    norm = {row["item_id"]: np.linalg.norm(row["hierarchy"]) for row in rows}
    assert norm["b"] < norm["a"]  # deeper is farther out
    with pytest.raises(ItemembError, match="categories that the category model lacks"):
        category_embeddings(catalog, fit_poincare([("retail", ROOT)], 3))


def test_a_category_may_be_called_anything():
    odd = CATALOG.slice(0, 2).set_column(2, "category_path", pa.array([["a > b", "c"], ["a", "b"]]))
    edges = category_tree(odd).edges
    assert [child.split(SEPARATOR) for child, _ in edges if child not in {ROOT, "retail"}] == [
        ["retail", "a"], ["retail", "a", "b"], ["retail", "a > b"], ["retail", "a > b", "c"],
    ]  # fmt: skip


def test_a_catalog_without_categories_and_one_of_forty_levels():
    none = CATALOG.set_column(2, "category_path", pa.nulls(5, pa.list_(pa.string())))
    tree = category_tree(none)
    assert (tree.edges, tree.levels) == ([(ROOT, ROOT)], 0)
    table = category_embeddings(none, fit_poincare(tree.edges, 3))
    assert not any(table["has_hierarchy"].to_pylist())
    deep = CATALOG.slice(0, 1).set_column(
        2, "category_path", pa.array([[str(k) for k in range(40)]])
    )
    tree = category_tree(deep)
    assert (tree.levels, len(tree.edges)) == (41, 42)
    assert category_embeddings(deep, fit_poincare(tree.edges, 3))["has_hierarchy"].to_pylist() == [
        True
    ]
