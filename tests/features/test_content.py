"""Image and text blocks: cases by hand, other widths, variants, bad vectors, titles, files."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from itememb_core.errors import ItemembError
from itememb_core.features import inputs
from itememb_core.features.content import text
from itememb_core.features.content.encoder import ContentEncoder, ContentVectors, fit_content
from itememb_core.features.content.text import cut_titles
from itememb_core.features.inputs import vectors_by_width
from itememb_core.schemas.column import VECTOR
from itememb_core.settings import ContentFeaturesSettings

SMALL = ContentFeaturesSettings(image_dim=4, text_dim=3, title_buckets=2**12)
NAN, INF = float("nan"), float("inf")


def rows(n: int | None = None, **columns: list) -> pa.Table:
    n = n if n is not None else len(next(iter(columns.values())))
    made: dict[str, pa.Array] = {
        "item_id": pa.array([f"i{row}" for row in range(n)]),
        "side": pa.array(["catalog"] * n),
    }
    for name, values in columns.items():
        made[name] = pa.array(values, VECTOR if name.endswith("embedding") else pa.string())
    return pa.table(made)


def cosines(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float64) @ vectors.T


def drawn(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def centred_cosines(vectors: np.ndarray) -> np.ndarray:
    """What principal components of unit vectors keep when none is left out."""
    made = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    made = made - made.mean(axis=0)
    return cosines(made / np.linalg.norm(made, axis=1, keepdims=True))


# images


def test_an_image_block_of_enough_columns_keeps_all_cosines():
    table = rows(embedding=[[3, 0, 0], [0, 2, 0], [0, 0, 1], None])
    made = fit_content(table, SMALL, seed=0).transform(table)
    assert (made.image.shape, made.image.dtype) == ((4, 4), np.float32)
    assert made.has_image.tolist() == [True, True, True, False]
    # Three unit vectors at right angles, seen from their mean, are 120 degrees apart.
    expected = np.full((3, 3), -0.5) + 1.5 * np.eye(3)
    np.testing.assert_allclose(cosines(made.image[:3]), expected, atol=1e-5)
    assert not made.image[3].any()


def test_explained_variance_is_that_of_the_components_kept():
    vectors = drawn(200, 10)
    table = rows(image_embedding=vectors.tolist())
    encoder = fit_content(table, SMALL, seed=0)
    made = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.sort(np.linalg.eigvalsh(np.cov(made.T)))[::-1]
    share = values[:4].sum() / values.sum()
    assert encoder.facts["image"]["explained_variance"] == pytest.approx(share, abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(encoder.transform(table).image, axis=1), 1, atol=1e-5)


def test_the_picture_goes_before_the_content_vector():
    one, two = drawn(6, 3, 1), drawn(6, 3, 2)
    both = rows(image_embedding=one.tolist(), embedding=two.tolist())
    made = fit_content(both, SMALL, seed=0).transform(both)
    np.testing.assert_allclose(cosines(made.image), centred_cosines(one), atol=1e-4)


def test_a_row_takes_the_vector_of_the_blocks_space_where_it_has_one():
    pictures = [row if n < 2 else None for n, row in enumerate(drawn(6, 5).tolist())]
    vectors = drawn(6, 3)
    table = rows(image_embedding=pictures, embedding=vectors.tolist())
    encoder = fit_content(table, SMALL, seed=0)
    assert [
        (each["column"], each["width"], each["rows"]) for each in encoder.facts["image"]["spaces"]
    ] == [("embedding", 3, 6), ("image_embedding", 5, 2)]
    made = encoder.transform(table)
    assert made.has_image.all()
    np.testing.assert_allclose(cosines(made.image), centred_cosines(vectors), atol=1e-4)


def test_a_picture_that_cannot_be_used_leaves_the_content_vector():
    table = rows(
        image_embedding=[
            [NAN, 1, 0],
            [0, 0, 0],
            [INF, 0, 0],
            [1, None, 0],
            [],
            None,
            [1e-30, 0, 0],
        ],
        embedding=[[1, 0, 0], [0, 1, 0], None, [0, 0, 1], None, [0, NAN, 0], None],
    )
    encoder = fit_content(table, SMALL, seed=0)
    made = encoder.transform(table)
    assert encoder.facts["image"]["bad"] == 5
    assert encoder.facts["image"]["spaces"][0]["column"] == "embedding"
    assert made.has_image.tolist() == [True, True, False, True, False, False, False]
    assert np.isfinite(made.image).all()


def test_vectors_too_large_or_small_for_squares_of_float32_keep_their_direction():
    (found,) = vectors_by_width(pa.array([[3e30, 4e30], [3e-30, 4e-30]], VECTOR))
    np.testing.assert_allclose(found.unit, [[0.6, 0.8]] * 2, rtol=1e-6)


def test_another_width_is_absent_without_enough_links():
    vectors = drawn(8, 3).tolist()
    other = drawn(4, 5).tolist()
    table = rows(embedding=[*vectors, *other])
    links = pa.table({"item_a": ["i0", "i1", "x", None], "item_b": ["i8", "i9", "i10", "i3"]})
    for each in (None, links):
        encoder = fit_content(table, SMALL, seed=0, links=each)
        made = encoder.transform(table)
        assert made.has_image.tolist() == [True] * 8 + [False] * 4
        assert encoder.facts["image"]["other_width"] == 4
    assert encoder.facts["image"]["spaces"][1] == {
        "column": "embedding", "width": 5, "rows": 4, "pairs": 2, "mapped": False,
    }  # fmt: skip


def test_another_width_is_mapped_where_links_suffice():
    """The other space is the first turned and widened, so linked items fall together."""
    n = 300
    vectors = drawn(n, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    turn = np.linalg.qr(drawn(5, 5, 1))[0][:3]  # [3, 5], orthonormal rows
    table = rows(embedding=[*vectors.tolist(), *(vectors[: n - 1] @ turn).tolist()])
    known = np.arange(100)  # linked, half of them the other way round
    first, second = [f"i{row}" for row in known], [f"i{row + n}" for row in known]
    links = pa.table({"item_a": first[:50] + second[50:], "item_b": second[:50] + first[50:]})
    careful = SMALL.model_copy(update={"ridge": 1e-6})
    encoder = fit_content(table, careful, seed=0, links=links)
    assert encoder.facts["image"]["spaces"][1]["pairs"] == 100
    assert encoder.facts["image"]["other_width"] == 0
    made = encoder.transform(table)
    assert made.has_image.all()
    near = np.einsum("nd,nd->n", made.image[: n - 1], made.image[n:])
    assert near[100:].min() > 0.999  # items that no link named


def test_items_with_both_vectors_are_links_of_their_own():
    vectors = drawn(40, 3)
    wide = (vectors @ drawn(3, 4, 1)).tolist()
    table = rows(image_embedding=[*vectors.tolist(), None], embedding=[*wide, [1.0, 2.0, 3.0, 4.0]])
    encoder = fit_content(table, SMALL, seed=0)
    spaces = encoder.facts["image"]["spaces"]
    assert (spaces[1]["pairs"], spaces[1]["mapped"]) == (40, True)
    assert encoder.transform(table).has_image.all()


def test_variants_have_the_mean_of_their_group():
    vectors = drawn(6, 3)
    given: list = vectors.tolist()
    given[2] = None  # a variant without a picture
    groups = ["a", "a", "a", None, "b", ""]
    table = rows(embedding=given, group_id=groups)
    made = fit_content(table, SMALL, seed=0).transform(table)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.stack([directions[:2].mean(axis=0), *directions[3:]])  # what is fitted on
    centred = units - units.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert made.has_image.all()
    picked = made.image[[0, 3, 4, 5]]
    np.testing.assert_allclose(cosines(picked), cosines(expected), atol=1e-4)
    assert made.image[0].tolist() == made.image[1].tolist() == made.image[2].tolist()


def test_groups_of_two_sides_are_two():
    table = rows(embedding=[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], group_id=["a"] * 4)
    sides = pa.array(["receipts", "catalog", "catalog", "receipts"])
    table = table.set_column(1, "side", sides)
    made = fit_content(table, SMALL, seed=0).transform(table)
    assert made.image[0].tolist() == made.image[3].tolist()
    assert made.image[1].tolist() == made.image[2].tolist()
    assert made.image[0].tolist() != made.image[1].tolist()


def test_one_picture_for_all_tells_nothing():
    table = rows(embedding=[[0.1, 0.7, 0.3]] * 1000)
    encoder = fit_content(table, SMALL, seed=0)
    made = encoder.transform(table)
    assert not made.has_image.any()
    assert not made.image.any()
    assert encoder.facts["image"]["explained_variance"] == 1.0


# texts


TITLES = ["Red cotton shirt", "red COTTON shirts", "Blue jeans", "blue jeans slim", None, " \t"]


def test_titles_alike_are_near_and_none_is_absent():
    table = rows(title=TITLES)
    encoder = fit_content(table, SMALL, seed=0)
    made = encoder.transform(table)
    assert (made.text.shape, made.text.dtype) == ((6, 3), np.float32)
    assert made.has_text.tolist() == [True] * 4 + [False] * 2
    near = cosines(made.text)
    assert min(near[0, 1], near[2, 3]) > 0.5 > max(near[0, 2], near[1, 3])
    assert not made.text[4:].any()
    assert encoder.facts["text"]["titles"] == 4


def test_tf_idf_is_the_one_made_by_hand():
    """Titles of one n-gram each, so few buckets that nothing is reduced."""
    one = SMALL.model_copy(update={"ngram_min": 3, "ngram_max": 3, "text_dim": 8})
    table = rows(title=["a", "a b", "a a", "c"])  # " a ", " b ", " c "
    encoder = fit_content(table, one, seed=0)
    a, b = np.log(5 / 4) + 1, np.log(5 / 2) + 1
    made = encoder.transform(table)
    expected = [[1, a / np.hypot(a, b), 1, 0]]
    np.testing.assert_allclose(cosines(made.text)[:1], expected, atol=1e-6)
    assert encoder.facts["text"]["title_variance"] == 1.0


def test_case_width_and_blanks_of_a_title_do_not_matter():
    table = rows(title=["ＲＥＤ  shirt\u00a0", "red Shirt", *TITLES[2:]])
    made = fit_content(table, SMALL, seed=0).transform(table)
    np.testing.assert_allclose(made.text[0], made.text[1], atol=1e-6)


def test_a_title_of_a_megabyte_is_cut_and_other_scripts_are_words_too():
    titles = [
        "👟" * 250_000,
        "ﷺ" * 600,
        "кроссовки красные",
        "кроссовки синие",
        "紅色襯衫",
        "紅色襯衣",
    ]
    table = rows(title=titles)
    encoder = fit_content(table, SMALL.model_copy(update={"text_dim": 5}), seed=0)
    assert encoder.facts["text"]["cut"] == 2
    made = encoder.transform(table)
    assert made.has_text.all()
    near = cosines(made.text)
    assert min(near[2, 3], near[4, 5]) > 0.1 > abs(near[2, 4])
    cut, longer = cut_titles(table, SMALL)
    assert (len(cut[0].as_py()), longer) == (512, 2)
    spaced, longer = cut_titles(pa.table({"title": [" " * 600 + "tea" + " " * 600]}), SMALL)
    assert (spaced.to_pylist(), longer) == (["tea"], 0)


def test_titles_without_a_known_n_gram_are_absent():
    encoder = fit_content(rows(title=TITLES), SMALL.model_copy(update={"title_buckets": 2**20}), 0)
    made = encoder.transform(rows(title=["зимняя", "shirt"]))
    assert made.has_text.tolist() == [False, True]


def test_text_vectors_alone_are_the_block():
    vectors = drawn(20, 3)
    table = rows(text_embedding=vectors.tolist())
    made = fit_content(table, SMALL, seed=0).transform(table)
    np.testing.assert_allclose(cosines(made.text), centred_cosines(vectors), atol=1e-4)


def test_text_vectors_are_joined_with_titles():
    """Two items with one title are told apart by their vectors, two with one vector by titles."""
    table = rows(
        title=["red shirt", "red shirt", "blue jeans", "green hat", None, "hat"],
        text_embedding=[[1, 0], [0, 1], [0, 1], None, [1, 1], [1, 2, 3]],
    )
    encoder = fit_content(table, SMALL, seed=0)
    facts = encoder.facts["text"]
    assert (facts["vectors"], facts["width"], facts["other_width"]) == (4, 2, 1)
    made = encoder.transform(table)
    assert made.has_text.all()
    near = cosines(made.text)
    assert max(near[0, 1], near[1, 2]) < 0.99
    assert facts["explained_variance"] < 1


# both


def test_rows_without_content_give_zeros():
    for table in (rows(n=3), rows(title=[None] * 3, embedding=[None] * 3), rows(n=0)):
        bare = fit_content(table, SMALL, seed=0)
        made = bare.transform(table)
        assert (made.image.shape, made.text.shape) == ((len(table), 4), (len(table), 3))
        assert not any(each.any() for each in made)
        assert not bare.transform(rows(title=["red"], embedding=[[1, 2]])).image.any()
    null = pa.table({"item_id": ["a"], "title": pa.nulls(1), "embedding": pa.nulls(1)})
    assert not fit_content(null, SMALL, seed=0).transform(null).has_image.any()


def world(n: int = 600) -> pa.Table:
    """Titles, two spaces, a second text vector, variants; each missing here and there."""
    random = np.random.default_rng(0)
    words = np.array(["red", "blue", "shirt", "jeans", "hat", "cotton", "slim", "kids"])
    kept = random.random((4, n)) < 0.7
    pictures, vectors, texts = drawn(n, 12, 1), drawn(n, 6, 2), drawn(n, 5, 3)
    vectors += pictures[:, :6]
    titles = [" ".join(own) for own in words[random.integers(len(words), size=(n, 3))]]

    def some(values: list, mask: np.ndarray) -> list:
        return [value if keep else None for value, keep in zip(values, mask, strict=True)]

    return rows(
        title=some(titles, kept[0]),
        image_embedding=some(pictures.tolist(), kept[1]),
        embedding=some(vectors.tolist(), kept[2]),
        text_embedding=some(texts.tolist(), kept[3]),
        group_id=[f"g{g}" if g < 50 else None for g in random.integers(200, size=n)],
    )


def same(one: ContentVectors, two: ContentVectors, atol: float) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), atol=atol)


def test_blocks_make_what_the_whole_makes(monkeypatch):
    table = world()
    encoder = fit_content(table, SMALL, seed=0)
    whole = encoder.transform(table)
    told = []
    for function in (inputs.blocks, inputs.parts_of):
        monkeypatch.setattr(function, "__defaults__", (97,))
    monkeypatch.setattr(text, "TEXT_BLOCK", 83)
    same(encoder.transform(table, lambda *each: told.append(each)), whole, 1e-5)
    assert ("content_features: texts", 600, 600) in told
    again = fit_content(table, SMALL, seed=0)
    same(again.transform(table), whole, 1e-3)


def test_a_table_of_many_chunks_is_the_same_table():
    table = world(200)
    chunks = pa.concat_tables([table.slice(n, 30) for n in range(0, 200, 30)])
    one, two = (fit_content(each, SMALL, seed=0).transform(each) for each in (table, chunks))
    same(one, two, 1e-6)


def test_a_seed_makes_the_same_vectors_and_another_samples_others():
    table = world(300)
    few = SMALL.model_copy(update={"fit_rows": 60})
    one, again, other = (fit_content(table, few, seed).transform(table) for seed in (1, 1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, again, strict=True))
    assert not np.allclose(one.image, other.image)


@pytest.mark.parametrize("kind", ["all", "titles", "nothing"])
def test_files_bring_the_encoder_back(tmp_path, kind):
    table = {"all": world(200), "titles": rows(title=TITLES), "nothing": rows(n=2)}[kind]
    encoder = fit_content(table, SMALL, seed=0)
    encoder.save(tmp_path)
    loaded = ContentEncoder.load(tmp_path)
    assert loaded.facts == encoder.facts
    one, two = encoder.transform(table), loaded.transform(table)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", ["content.json", "content.safetensors", "title_buckets.parquet"])
def test_a_damaged_or_missing_file_is_named(tmp_path, name):
    fit_content(rows(title=TITLES), SMALL, seed=0).save(tmp_path)
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ItemembError, match=name):
        ContentEncoder.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ItemembError, match=f"{name} is missing"):
        ContentEncoder.load(tmp_path)


def test_files_of_two_fits_do_not_go_together(tmp_path):
    fit_content(rows(title=TITLES, embedding=drawn(6, 5).tolist()), SMALL, seed=0).save(tmp_path)
    kept = (tmp_path / "content.safetensors").read_bytes()
    fit_content(rows(title=TITLES, embedding=drawn(6, 3).tolist()), SMALL, seed=0).save(tmp_path)
    (tmp_path / "content.safetensors").write_bytes(kept)
    with pytest.raises(ItemembError, match=r"image.components of \[5, 4\], expected \[3, 4\]"):
        ContentEncoder.load(tmp_path)
    (tmp_path / "content.json").write_text(json.dumps({"settings": {"image_dim": 0}}))
    with pytest.raises(ItemembError, match="lacks settings or facts"):
        ContentEncoder.load(tmp_path)


numbers = st.none() | st.floats(width=32)
lists = st.none() | st.lists(numbers, max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(lists, lists, st.none() | st.text(max_size=8), st.sampled_from("ab")),
                max_size=8))  # fmt: skip
def test_whatever_comes_rows_are_finite_and_of_norm_one_or_zero(given_rows):
    pictures, vectors, titles, groups = (
        (list(each) for each in zip(*given_rows, strict=True)) if (given_rows) else ([], [], [], [])
    )
    table = rows(image_embedding=pictures, text_embedding=vectors, title=titles, group_id=groups)
    made = fit_content(table, SMALL, seed=0).transform(table)
    for block, has in ((made.image, made.has_image), (made.text, made.has_text)):
        norms = np.linalg.norm(block, axis=1)
        np.testing.assert_allclose(norms[has], 1, atol=1e-5)
        assert not block[~has].any()


def test_an_empty_range_of_n_grams_is_no_setting():
    with pytest.raises(ValidationError, match="ngram_min is 6, ngram_max 5"):
        ContentFeaturesSettings(ngram_min=6)


# the sentence encoder


def with_encoder(folder) -> ContentFeaturesSettings:
    return SMALL.model_copy(update={"text_model": str(folder)})


def test_a_folder_that_is_no_encoder_is_named(tmp_path):
    table = rows(title=TITLES)
    with pytest.raises(ItemembError, match=r"none is no folder, expected .*modules.json"):
        fit_content(table, with_encoder(tmp_path / "none"), seed=0)
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ItemembError, match=r"lacks config.json, model.safetensors, expected"):
        fit_content(table, with_encoder(tmp_path), seed=0)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ItemembError, match=r"modules.json is no JSON, expected"):
        fit_content(table, with_encoder(tmp_path), seed=0)


def test_without_the_extra_it_is_what_is_missing(tmp_path, monkeypatch):
    for name in ("modules.json", "config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ItemembError, match=r"not installed, expected itememb\[text\]"):
        fit_content(rows(title=TITLES), with_encoder(tmp_path), seed=0)


def tiny_encoder(folder, seed: int) -> None:
    """An encoder of random weights as sentence-transformers lays one out."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(words), **small, intermediate_size=16, max_position_embeddings=64
    )
    BertModel(config).save_pretrained(folder)
    kinds = ("Transformer", "Pooling")
    modules = [
        {"idx": n, "name": str(n), "path": "" if n == 0 else f"{n}_{kind}",
         "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.slow
def test_sentences_are_joined_with_titles(tmp_path, capfd):
    pytest.importorskip("sentence_transformers")
    folder = tmp_path / "encoder"
    tiny_encoder(folder, seed=0)
    capfd.readouterr()
    table = rows(title=TITLES)
    told = []
    encoder = fit_content(table, with_encoder(folder), 0, lambda *each: told.append(each))
    facts = encoder.facts["text"]
    assert (facts["encoder_width"], len(facts["encoder"])) == (16, 32)
    made = encoder.transform(table)
    assert made.has_text.tolist() == [True] * 4 + [False] * 2
    assert capfd.readouterr() == ("", "")
    bare = fit_content(table, SMALL, seed=0).transform(table)
    assert not np.allclose(cosines(made.text), cosines(bare.text), atol=0.01)
    kept = tmp_path / "kept"
    kept.mkdir()
    encoder.save(kept)
    loaded = ContentEncoder.load(kept)
    np.testing.assert_allclose(loaded.transform(table).text, made.text, atol=1e-5)
    folder.rename(tmp_path / "old")
    with pytest.raises(ItemembError, match="is no folder"):
        loaded.transform(table)
    tiny_encoder(folder, seed=1)
    with pytest.raises(ItemembError, match="those of the fit"):
        loaded.transform(table)
    (folder / "model.safetensors").write_bytes(b"?")
    with pytest.raises(ItemembError, match=r"encoder cannot be loaded .*expected"):
        fit_content(table, with_encoder(folder), seed=0)
