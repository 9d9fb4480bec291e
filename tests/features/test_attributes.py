"""Features of brand and attributes: columns by hand, bad catalogs, blocks, files."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.features import inputs
from itememb_core.features.attributes.encoder import (
    AttributeEncoder,
    ColumnsOf,
    _sparse,
    attribute_features,
    fit_attributes,
)
from itememb_core.features.attributes.values import pairs_of
from itememb_core.features.inputs import spelled
from itememb_core.schemas import CATALOG
from itememb_core.settings import AttributeFeaturesSettings

ATTRIBUTES = CATALOG.field("attributes").type


def catalog(brands: list[int | None], attributes: list[list[tuple] | None]) -> pa.Table:
    pairs = [
        row if row is None else [{"name": name, "value": value} for name, value in row]
        for row in attributes
    ]
    return pa.table(
        {"brand_id": pa.array(brands, pa.int64()), "attributes": pa.array(pairs, ATTRIBUTES)}
    )


SHIRTS = catalog(
    [1, 1, None, 2, None],
    [
        [("Color", "Red"), ("color ", "Blue")],  # two values of one attribute
        [(" COLOR", "ｒｅｄ\u00a0"), ("color", "red")],  # one value, in two spellings
        None,
        [("color", "green"), ("color", "pink")],  # two rare values: one column
        [("size", "XL")],
    ],
)
TWO = AttributeFeaturesSettings(min_count=2)


def labels(encoder: AttributeEncoder) -> list[str]:
    return [
        {"value": f"{name}={value}", "other": f"other_{name}", "absent": f"no_{name}"}[kind]
        for name, kind, value in zip(
            *(encoder.columns[each].to_pylist() for each in ("attribute", "kind", "value")),
            strict=True,
        )
    ]


def test_columns_and_rows_are_those_made_by_hand():
    encoder = fit_attributes(SHIRTS, TWO, seed=0)
    assert labels(encoder) == [
        "brand=1", "color=red", "other_brand", "other_color", "other_size",
        "no_brand", "no_color", "no_size",
    ]  # fmt: skip
    assert encoder.columns["items"].to_pylist() == [2, 2, 1, 2, 1, 1, 1, 3]
    made = encoder.transform(SHIRTS)
    assert (made.shape, made.dtype) == ((5, 70), np.float32)
    expected = [
        [1, 1, 0, 1, 0, 0, 0, 1],
        [1, 1, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1, 1, 0],
    ]
    assert made[:, :8].tolist() == expected
    assert not made[:, 8:].any()


def test_what_lists_nothing_but_blanks_has_no_features():
    blank = catalog([1, None, None, 1], [None, [("", "")], [("color", None)], [("color", "")]])
    blank = blank.add_column(0, "item_id", pa.array(["a", "b", "c", "d"]))
    encoder = fit_attributes(SHIRTS, TWO, seed=0)
    table = attribute_features(blank, encoder)
    assert table["has_attributes"].to_pylist() == [True, False, False, True]


def test_facts_count_values_and_spellings():
    encoder = fit_attributes(SHIRTS, TWO, seed=0)
    assert encoder.attributes.to_pylist() == [
        {"attribute": "brand", "items": 3, "kept": 1, "rare": 1},
        {"attribute": "color", "items": 3, "kept": 1, "rare": 3},
        {"attribute": "size", "items": 1, "kept": 0, "rare": 1},
    ]
    facts = encoder.facts
    assert (facts["items"], facts["fitted"], facts["kept"], facts["rare"]) == (5, 4, 2, 5)
    assert facts["names_merged"] == 3  # Color, "color " and " COLOR" are color
    assert (facts["explained_variance"], facts["reason"]) == (1.0, None)


def test_more_columns_than_dim_leave_the_nearest_of_that_rank():
    encoder = fit_attributes(SHIRTS, TWO.model_copy(update={"dim": 2}), seed=0)
    exact = fit_attributes(SHIRTS, TWO, seed=0).transform(SHIRTS)[:, :8].astype(np.float64)
    _, _, right = np.linalg.svd(exact)
    made = encoder.transform(SHIRTS).astype(np.float64)
    assert made.shape == (5, 2)
    wanted = exact @ right[:2].T
    np.testing.assert_allclose(made @ made.T, wanted @ wanted.T, atol=1e-4)
    shown = exact[[0, 1, 3, 4]]  # the item without attributes is no part of the fit
    share = (shown @ right[:2].T).var(axis=0).sum() / shown.var(axis=0).sum()
    assert encoder.facts["explained_variance"] == pytest.approx(share, abs=1e-4)


def test_an_unknown_value_is_other_and_an_unknown_attribute_is_none():
    encoder = fit_attributes(SHIRTS, TWO, seed=0)
    fresh = catalog(
        [None, 1, None, None],
        [[("color", "mauve")], [("sleeve", "long")], [("sleeve", "long")], [("x", "red")]],
    )
    rows = [[labels(encoder)[n] for n in np.flatnonzero(row)] for row in encoder.transform(fresh)]
    assert rows == [["other_color", "no_brand", "no_size"], ["brand=1", "no_color", "no_size"],
                    [], []]  # fmt: skip


def test_absence_is_a_column_of_the_most_common_attributes_only():
    one = AttributeFeaturesSettings(min_count=1, absences=1)
    encoder = fit_attributes(SHIRTS.slice(2), one, seed=0)
    # brand, color and size: one item each of two; the first by name.
    assert [label for label in labels(encoder) if label.startswith("no_")] == ["no_brand"]


@pytest.mark.parametrize(
    "bare",
    [
        pa.table({"item_id": ["a", "b"]}),
        pa.table({"brand_id": pa.nulls(2), "attributes": pa.nulls(2)}),
        catalog([None, None], [None, []]),
        catalog([None, None], [[(None, "red")], [("color", None), (" ", "red"), ("x", "\t")]]),
    ],
)
def test_a_catalog_without_attributes_gives_zeros_and_says_so(bare):
    encoder = fit_attributes(bare, TWO, seed=0)
    assert encoder.facts["columns"] == 0
    assert encoder.facts["reason"] == "no item has a brand or an attribute"
    assert encoder.transform(bare).tolist() == np.zeros((2, 70)).tolist()
    assert not encoder.transform(SHIRTS).any()


def test_pairs_without_a_name_or_a_value_are_counted():
    broken = catalog(
        [1, 1], [[(None, "red"), ("color", "red")], [("color", None), ("\u3000", "x")]]
    )
    encoder = fit_attributes(broken, TWO.model_copy(update={"min_count": 1}), seed=0)
    assert encoder.facts["nulls"] == 3
    assert encoder.facts["attributes"] == 2


def test_a_list_with_an_entry_that_is_null_keeps_the_others():
    lists = pa.array([[None, {"name": "color", "value": "red"}]], ATTRIBUTES)
    encoder = fit_attributes(
        pa.table({"attributes": lists}), AttributeFeaturesSettings(min_count=1), 0
    )
    assert (labels(encoder), encoder.facts["nulls"]) == (["color=red"], 1)


def test_no_rows_at_all():
    encoder = fit_attributes(SHIRTS.slice(0, 0), TWO, seed=0)
    assert encoder.transform(SHIRTS.slice(0, 0)).shape == (0, 70)
    assert fit_attributes(SHIRTS, TWO, seed=0).transform(SHIRTS.slice(0, 0)).shape == (0, 70)


def many(items: int, seed: int = 0) -> pa.Table:
    """Items with a few values and one of their own."""
    random = np.random.default_rng(seed)
    drawn = random.zipf(1.5, (items, 3)) % 50
    return catalog(
        [int(n) if n else None for n in drawn[:, 0]],
        [
            [("Color", f"c{a}"), ("size", f"s{b}"), ("sku", f"own {n}")][: 1 + n % 3]
            for n, (_, a, b) in enumerate(drawn)
        ],
    )


def test_a_value_of_its_own_for_each_item_is_one_column():
    items = many(3000)
    encoder = fit_attributes(items, AttributeFeaturesSettings(), seed=0)
    (sku,) = (row for row in encoder.attributes.to_pylist() if row["attribute"] == "sku")
    assert sku == {"attribute": "sku", "items": 1000, "kept": 0, "rare": 1000}
    assert encoder.columns.num_rows < 150


def test_blocks_make_what_the_whole_makes(monkeypatch):
    items = many(1000)
    eight = AttributeFeaturesSettings(dim=8)
    whole = fit_attributes(items, eight, seed=3)
    expected = whole.transform(items)
    told = []
    for module in (inputs.blocks, inputs.parts_of):
        monkeypatch.setattr(module, "__defaults__", (97,))
    halves = fit_attributes(items, eight, seed=3, progress=lambda *each: told.append(each))
    assert halves.columns.equals(whole.columns)
    np.testing.assert_allclose(halves.transform(items), expected, atol=1e-5)
    assert ("attribute_features: values", 1000, 1000) in told
    parts = [whole.transform(items.slice(n, 300)) for n in range(0, 1000, 300)]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_a_seed_makes_the_same_features_and_a_sample_is_drawn_of_items_with_attributes():
    items = pa.concat_tables([many(500), catalog([None] * 500, [None] * 500)])
    few = AttributeFeaturesSettings(dim=8, fit_rows=200, min_count=3)
    one, same, other = (fit_attributes(items, few, seed) for seed in (1, 1, 2))
    assert one.facts["fitted"] == 200
    assert one.transform(items).tobytes() == same.transform(items).tobytes()
    assert one.columns.equals(same.columns)
    assert not one.columns.equals(other.columns)


def test_files_bring_the_encoder_back(tmp_path):
    items = many(500)
    encoder = fit_attributes(items, AttributeFeaturesSettings(dim=8), seed=0)
    encoder.save(tmp_path)
    loaded = AttributeEncoder.load(tmp_path)
    assert loaded.facts == encoder.facts
    assert loaded.attributes.equals(encoder.attributes)
    assert loaded.transform(items).tobytes() == encoder.transform(items).tobytes()


@pytest.mark.parametrize("name", ["attributes.json", "attributes.safetensors",
                                  "attribute_columns.parquet", "attributes.parquet"])  # fmt: skip
def test_a_damaged_or_missing_file_is_named(tmp_path, name):
    fit_attributes(SHIRTS, TWO, seed=0).save(tmp_path)
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ItemembError, match=name):
        AttributeEncoder.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ItemembError, match=f"{name} is missing"):
        AttributeEncoder.load(tmp_path)


def test_files_of_two_fits_do_not_go_together(tmp_path):
    fit_attributes(many(100), TWO, seed=0).save(tmp_path)
    kept = (tmp_path / "attributes.safetensors").read_bytes()
    fit_attributes(SHIRTS, TWO, seed=0).save(tmp_path)
    (tmp_path / "attributes.safetensors").write_bytes(kept)
    with pytest.raises(ItemembError, match=r"has components .*, expected \[8, 70\]"):
        AttributeEncoder.load(tmp_path)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_spelling_is_a_fixed_point_without_case_or_blanks_at_its_ends(text):
    once = spelled(text)
    assert spelled(once) == once
    assert once == once.strip()
    assert unicodedata.is_normalized("NFKC", once)
    assert spelled(f" {text.upper()}\t") == spelled(text.upper())


words = st.sampled_from(["a", "A ", "b", "ß", "SS", None, " "])
rows = st.lists(st.tuples(words, words), max_size=4) | st.none()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.none() | st.integers(0, 2), rows), max_size=12), st.integers(1, 3))
def test_columns_are_what_a_plain_loop_finds(items, min_count):
    table = catalog([brand for brand, _ in items], [row for _, row in items])
    plain: list[set[tuple[str, str]]] = []
    for brand, row in items:
        own = {("brand", str(brand))} if brand is not None else set()
        for name, value in row or []:
            if spelled(name or "") and spelled(value or ""):
                own.add((spelled(name), spelled(value)))
        plain.append(own)
    every = [pair for own in plain for pair in own]
    names = sorted({name for name, _ in every})
    expected = []
    for own in plain:
        made = set()
        for name, value in own:
            common = every.count((name, value)) >= min_count
            made.add(f"{name}={value}" if common else f"other_{name}")
        made |= {f"no_{name}" for name in names if own and name not in {each for each, _ in own}}
        expected.append(made)
    encoder = fit_attributes(table, AttributeFeaturesSettings(min_count=min_count), seed=0)
    columns = ColumnsOf(encoder.columns, encoder.attributes)
    matrix = _sparse([columns.of(pairs_of(table))], columns.n).toarray()
    told = labels(encoder)
    assert [{told[n] for n in np.flatnonzero(row)} for row in matrix] == expected
    assert matrix.sum(axis=0).tolist() == encoder.columns["items"].to_pylist()
