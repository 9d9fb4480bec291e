"""What all models share: saved and read back they do the same, and a wrong folder is named."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core.errors import ItemembError
from itememb_core.features.attributes.encoder import AttributeEncoder, fit_attributes
from itememb_core.features.categories.poincare import PoincareEmbedding, fit_poincare
from itememb_core.features.cold.fit import fit_feature_model
from itememb_core.features.cold.model import FeatureModel
from itememb_core.features.content.encoder import ContentEncoder, fit_content
from itememb_core.items.drift import DriftReport, ModelVersion, aligned
from itememb_core.items.index import ItemIndex, build_index
from itememb_core.items.model import ItemModel, history_table
from itememb_core.links.candidates import link_candidates
from itememb_core.links.pool import link_pool
from itememb_core.links.scorer.fit import fit_scorer
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.settings import (
    AttributeFeaturesSettings,
    ContentFeaturesSettings,
    ItemIndexSettings,
    LinkPoolSettings,
    LinkScorerSettings,
    RecommendationsSettings,
)
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.model import StoredUserModel, UserModel
from itememb_core.users.ranking.candidates import feature_names
from itememb_core.users.ranking.lists import Lists
from itememb_core.users.ranking.ranker import Ranker, fit_order
from itememb_core.users.recommendations import recommendations, user_embeddings
from itememb_core.users.sequence.fit import fit_sequence_model
from itememb_core.users.sequence.model import SequenceModel
from itememb_core.users.shards import pack_histories
from tests.worlds.cold import SETTINGS, feature_world
from tests.worlds.links import World, embeddings_table, unit, vocabulary_table
from tests.worlds.users import fitted, habits, histories, items_of

ROOT = Path(__file__).parent.parent
ROWS, DIM = 30, 8
IDS = [f"i{number:02d}" for number in range(ROWS)]
VALUES = unit(np.random.default_rng(0).normal(size=(ROWS, DIM)))
VOCABULARY = vocabulary_table([(item, "all", "receipt", 5, 0, 0, 0) for item in IDS])


@dataclass(frozen=True)
class Case:
    """A model with what its contract needs.

    Attributes:
        model: The fitted model.
        load: Reads a folder.
        does: What the model does, comparable.
        mismatch: Makes a saved folder's dimensions disagree, or gives another way to load it.
        named: The file that the error about it names.
        found: What else the error says: the dimension found, or the expected one.
    """

    model: Any
    load: Callable[[Path], Any]
    does: Callable[[Any], Any]
    mismatch: Callable[[Path], Any]
    named: str
    found: str


def rewrite(name: str, **changes: object) -> Callable[[Path], None]:
    """Change facts of a JSON file."""

    def change(folder: Path) -> None:
        facts = json.loads((folder / name).read_text())
        for key, value in changes.items():
            facts[key] = facts[key] | value if isinstance(value, dict) else value
        (folder / name).write_text(json.dumps(facts))

    return change


def item_model(seed: int = 0) -> ItemModel:
    rng = np.random.default_rng(seed)
    values = unit(rng.normal(size=(ROWS, DIM)))
    context, bias = (rng.normal(size=size).astype(np.float32) for size in ((ROWS, DIM), ROWS))
    rows = [{"step": 5, "rate": 0.1, "train": {"a": 1.0}, "validation": {}}]
    facts = {"settings": {"dim": DIM}, "steps": 5, "reason": None}
    return ItemModel(values, context, bias, history_table(rows), facts)


def vectors_case(_: Path) -> Case:
    return Case(
        item_model(),
        ItemModel.load,
        lambda model: [model.table(VOCABULARY), model.history, model.facts],
        rewrite("settings.json", settings={"dim": 5}),
        "model.safetensors",
        "vectors of 8, expected 5",
    )


def index_case(_: Path) -> Case:
    table = embeddings_table(VALUES, IDS)
    return Case(
        build_index(table, VOCABULARY, ItemIndexSettings(), seed=0),
        ItemIndex.load,
        lambda index: [*(part.tolist() for part in index.search(VALUES, 5)), index.ids],
        lambda folder: ItemIndex.load(folder, 5),
        "index.json",
        "dimension 8, expected 5",
    )


def scorer_case(_: Path) -> Case:
    world = World(matches=60, opaque=80, alone=20, extra=40)
    pool = link_pool(world.data(), LinkPoolSettings(size=10, by_users=5))
    settings = LinkScorerSettings(rounds=5, folds=2)
    return Case(
        fit_scorer(pool, world.vocabulary, world.holdout, settings, seed=0),
        LinkScorer.load,
        lambda scorer: [link_candidates(pool, world.vocabulary, scorer, 5), scorer],
        rewrite("link_scorer.json", features=["price_gap"]),
        "link_scorer.json",
        "has features price_gap",
    )


def users_case(folder: Path) -> Case:
    (folder / "shards").mkdir()
    ids, rows = habits(users=10, weeks=4)
    model, packed, items = fitted(folder / "shards", rows=rows, ids=ids, epochs=1)
    settings = RecommendationsSettings(k=5)
    other = items_of(ids, dim=5)
    return Case(
        model,
        lambda folder: UserModel.load(folder, items),
        lambda model: [
            *recommendations(model, packed, items, settings),
            *user_embeddings(model, packed),
            model.history,
            model.epochs,
        ],
        lambda folder: UserModel.load(folder, other),
        "settings.json",
        "item_dim 5, expected 6",
    )


def sequence_case(folder: Path) -> Case:
    ids, rows = habits(users=10, weeks=4)
    items, other = items_of(ids), items_of(ids, dim=5)
    packed = pack_histories([histories(rows)], items, folder)
    settings = SequenceSettings(dim=8, batch_events=64, negatives=8)
    model = fit_sequence_model(packed, items, settings, seed=0, steps=3)
    (shard,) = packed.shards()
    users, end = np.arange(len(shard.user_ids)), np.asarray(shard.start[1:])
    return Case(
        model,
        lambda folder: SequenceModel.load(folder, items),
        lambda model: [
            model.user_vectors(shard, users, end).tolist(),
            model.item_matrix().tolist(),
            model.history,
            model.steps,
        ],
        lambda folder: SequenceModel.load(folder, other),
        "settings.json",
        "columns 5, expected 6",
    )


def cut_items(folder: Path) -> None:
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.slice(1), folder / "items.parquet")


def version_case(_: Path) -> Case:
    return Case(
        aligned(item_model(1), VOCABULARY, aligned(item_model(), VOCABULARY, None, 0).rows, 0),
        ModelVersion.load,
        lambda version: [version.model.table(VOCABULARY), version.items, version.drift],
        cut_items,
        "items.parquet",
        "29 ids, expected 30",
    )


def drift_case(folder: Path) -> Case:
    def other_columns(folder: Path) -> None:
        pq.write_table(pa.table({"band": ["all"]}), folder / "drift.parquet")

    return Case(
        DriftReport(version_case(folder).model.drift),
        DriftReport.load,
        lambda report: [report.table],
        other_columns,
        "drift.parquet",
        "has columns band string, expected band string, items int64",
    )


CATALOG = pa.table({
    "item_id": IDS,
    "side": ["all"] * ROWS,
    "brand_id": pa.array([number % 3 for number in range(ROWS)], pa.int64()),
    "title": [f"title of {number % 7}" for number in range(ROWS)],
})  # fmt: skip


def attributes_case(_: Path) -> Case:
    return Case(
        fit_attributes(CATALOG, AttributeFeaturesSettings(dim=4, min_count=2), seed=0),
        AttributeEncoder.load,
        lambda encoder: [encoder.transform(CATALOG).tolist(), encoder.facts, encoder.columns],
        rewrite("attributes.json", dim=5),
        "attributes.safetensors",
        r"components \[3, 4\], expected \[3, 5\]",
    )


def categories_case(_: Path) -> Case:
    return Case(
        fit_poincare([("a", "all"), ("b", "all"), ("c", "a")], 3),
        PoincareEmbedding.load,
        lambda embedding: [embedding.tangent().tolist(), embedding.ids, embedding.facts],
        rewrite("categories.json", dim=5),
        "category_vectors.safetensors",
        r"vectors \[4, 3\], expected \[4, 5\]",
    )


def content_case(_: Path) -> Case:
    return Case(
        fit_content(CATALOG, ContentFeaturesSettings(text_dim=4, image_dim=3), seed=0),
        ContentEncoder.load,
        lambda encoder: [encoder.transform(CATALOG).text.tolist(), encoder.facts],
        rewrite("content.json", settings={"text_dim": 5}),
        "content.safetensors",
        r"titles.components of \[\d+, 4\], expected \[\d+, 5\]",
    )


def features_case(_: Path) -> Case:
    data = feature_world(items=200)
    settings = SETTINGS.model_copy(update={"steps": 5, "likeness": "always"})

    nodes = np.arange(200)

    def does(model: FeatureModel) -> list:
        found = model.on(data.inputs).predict(data.inputs, np.zeros((200, 17), np.float32), nodes)
        return [*(each.tolist() for each in found), model.space.axes.tolist(), model.choices]

    return Case(
        fit_feature_model(data, settings, 0),
        FeatureModel.load,
        does,
        rewrite("feature_model.json", dim=5),
        "feature_model.safetensors",
        "vectors of 8, expected 5",
    )


def ranker_case(_: Path) -> Case:
    rng, names = np.random.default_rng(0), feature_names(("a", "b"))
    relevant = np.arange(ROWS * 4) % 4 == 0
    lists = Lists(
        user=np.arange(ROWS), start=np.arange(ROWS + 1) * 4, target=np.arange(ROWS * 4),
        relevant=relevant, relevant_count=np.ones(ROWS, np.int64),
        weight=np.ones(ROWS * 4, np.float32), names=names,
        features=rng.normal(size=(ROWS * 4, len(names))).astype(np.float32),
    )  # fmt: skip
    return Case(
        Ranker(("a", "b"), "a", fit_order("boosted", lists, ("a", "b"), 0)),
        Ranker.load,
        lambda ranker: ranker.order.scores(lists.features, names).tolist(),
        rewrite("ranker.json", first="c"),
        "ranker.json",
        "names c first",
    )


CASES = {
    "FeatureModel": features_case,
    "AttributeEncoder": attributes_case,
    "PoincareEmbedding": categories_case,
    "ContentEncoder": content_case,
    "ItemModel": vectors_case,
    "ItemIndex": index_case,
    "LinkScorer": scorer_case,
    "UserModel": users_case,
    "SequenceModel": sequence_case,
    "ModelVersion": version_case,
    "DriftReport": drift_case,
    "Ranker": ranker_case,
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return CASES[request.param](tmp_path_factory.mktemp("case"))


@pytest.fixture
def saved(case: Case, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    case.model.save(folder)
    return folder


def needed(folder: Path) -> list[Path]:
    """Files that are read back: all but pictures."""
    return sorted(path for path in folder.iterdir() if path.suffix != ".png")


def test_read_back_it_does_the_same(case: Case, saved: Path):
    again = case.load(saved)
    assert type(again) is type(case.model)
    assert case.does(again) == case.does(case.model)


def test_saved_again_it_makes_the_same_files(case: Case, saved: Path, tmp_path: Path):
    (tmp_path / "again").mkdir()
    case.load(saved).save(tmp_path / "again")
    for path in needed(saved):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_missing_file_is_named(case: Case, saved: Path):
    assert needed(saved)
    for path in needed(saved):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ItemembError, match=f"{path.name} is missing"):
            case.load(saved)
        path.write_bytes(content)


def test_a_file_cut_short_is_named(case: Case, saved: Path):
    for path in needed(saved):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ItemembError, match=path.name):
            case.does(case.load(saved))
        path.write_bytes(content)


def test_a_mismatch_of_dimensions_names_the_file_and_both(case: Case, saved: Path):
    def read() -> None:
        case.mismatch(saved)
        case.load(saved)

    with pytest.raises(ItemembError, match=case.found) as error:
        read()
    assert str(saved / case.named) in str(error.value)


def test_a_stored_user_model_tells_its_facts_before_it_has_items(tmp_path: Path):
    (tmp_path / "shards").mkdir()
    ids, rows = habits(users=10, weeks=4)
    model, _, items = fitted(tmp_path / "shards", rows=rows, ids=ids, epochs=1)
    model.save(tmp_path)
    stored = StoredUserModel.load(tmp_path)
    assert (stored.epochs, stored.reason) == (model.epochs, model.reason)
    assert stored.with_items(items).history.equals(model.history)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ItemembError, match=r"settings\.json is missing"):
        StoredUserModel.load(tmp_path)


def test_whatever_can_be_saved_is_loaded_by_its_class_and_is_in_this_suite():
    saving = {}
    for path in ROOT.glob("itememb_core/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
                if "save" in methods:
                    saving[node.name] = methods.get("load")
    assert saving.keys() == CASES.keys()
    for name, load in saving.items():
        assert load is not None, name
        assert [d.id for d in load.decorator_list] == ["classmethod"], name
        assert [arg.arg for arg in load.args.args[:2]] == ["cls", "folder"], name
