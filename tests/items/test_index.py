"""The stored index: kinds, recall, saving and loading."""

import json

import numpy as np
import pytest

from itememb_core.errors import ItemembError
from itememb_core.items.index import ABOUT_FILE, INDEX_FILE, ItemIndex, build_index
from itememb_core.settings import ItemIndexSettings
from tests.worlds.links import embeddings_table, unit, vocabulary_table

N, DIM = 600, 16


def tables(n=N, untouched=3, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(20, DIM))
    values = unit(centers[rng.integers(0, 20, n)] + 0.3 * rng.normal(size=(n, DIM)))
    ids = [f"i{number:04d}" for number in range(n)]
    counts = [0] * untouched + [1] * (n - untouched)
    rows = [
        (item, "all", "receipt", count, 0, 0, 0) for item, count in zip(ids, counts, strict=True)
    ]
    return embeddings_table(values, ids), vocabulary_table(rows), values


def test_a_small_index_is_exact_and_leaves_out_items_without_vectors():
    embeddings, vocabulary, values = tables()
    built = build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0)
    assert (built.about["kind"], built.about["recall"]) == ("flat", 1.0)
    assert (built.about["items"], built.about["without_vectors"]) == (N - 3, 3)
    positions, scores = built.search(values[:5], 3)
    exact = values[:5] @ values[3:].T
    assert np.allclose(scores, -np.sort(-exact, axis=1)[:, :3], atol=1e-5)
    best = built.ids["item_id"].take(positions[:, 0]).to_pylist()
    assert best[3:5] == ["i0003", "i0004"]


def test_a_large_index_reads_enough_lists_and_states_its_true_recall():
    embeddings, vocabulary, values = tables()
    settings = ItemIndexSettings(exact_up_to=100, recall=0.9, recall_sample=N)
    built = build_index(embeddings, vocabulary, settings, seed=0)
    about = built.about
    assert about["kind"] == "ivf"
    assert 1 <= about["probed"] <= about["lists"]
    touched = values[3:]
    exact = np.argsort(-(touched @ touched.T), axis=1)[:, :10]
    positions, _ = built.search(touched, 10)
    found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, positions, strict=True)])
    assert about["recall"] >= 0.9
    assert about["recall"] == pytest.approx(found, abs=0.002)


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_what_is_saved_is_what_is_loaded_and_the_same_bytes_twice(tmp_path, exact_up_to):
    embeddings, vocabulary, values = tables()
    settings = ItemIndexSettings(exact_up_to=exact_up_to, recall=0.9)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build_index(embeddings, vocabulary, settings, seed=1).save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    loaded = ItemIndex.load(tmp_path / "a", DIM)
    built = build_index(embeddings, vocabulary, settings, seed=1)
    assert loaded.about == built.about
    assert loaded.ids.equals(built.ids)
    for one, other in zip(loaded.search(values, 5), built.search(values, 5), strict=True):
        assert np.array_equal(one, other)


def test_nothing_to_index(tmp_path):
    embeddings, vocabulary, values = tables(n=3, untouched=3)
    built = build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0)
    built.save(tmp_path)
    loaded = ItemIndex.load(tmp_path)
    assert (loaded.about["kind"], loaded.ids.num_rows) == ("none", 0)
    assert loaded.search(values, 3)[0].shape == (3, 0)


def test_dimensions_are_checked(tmp_path):
    embeddings, vocabulary, _ = tables()
    with pytest.raises(ItemembError, match="dimension 16, expected 128"):
        build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0, expected_dim=128)
    built = build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0)
    with pytest.raises(ItemembError, match="dimension 8, the index 16"):
        built.search(np.ones((1, 8), np.float32), 1)
    built.save(tmp_path)
    with pytest.raises(ItemembError, match="dimension 16, expected 8"):
        ItemIndex.load(tmp_path, 8)


def test_a_broken_folder_is_named(tmp_path):
    embeddings, vocabulary, _ = tables()
    with pytest.raises(ItemembError, match="missing"):
        ItemIndex.load(tmp_path)
    build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0).save(tmp_path)
    about = json.loads((tmp_path / ABOUT_FILE).read_text())
    (tmp_path / ABOUT_FILE).write_text(json.dumps(about | {"dim": 8}))
    with pytest.raises(ItemembError, match="of dimension 16, expected 597 of 8"):
        ItemIndex.load(tmp_path)
    (tmp_path / INDEX_FILE).unlink()
    with pytest.raises(ItemembError, match=f"{INDEX_FILE} is missing"):
        ItemIndex.load(tmp_path)


def test_tables_of_other_items_are_an_error():
    embeddings, vocabulary, _ = tables()
    with pytest.raises(ItemembError, match="item_id differs"):
        build_index(embeddings, vocabulary.take(list(range(N))[::-1]), ItemIndexSettings(), seed=0)
    with pytest.raises(ItemembError, match="10 rows, the vocabulary has 600"):
        build_index(embeddings.slice(0, 10), vocabulary, ItemIndexSettings(), seed=0)
