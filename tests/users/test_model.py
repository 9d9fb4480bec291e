"""The fit, what it gives, and users at the edges."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.parts import Threads
from itememb_core.report.training import training_plot
from itememb_core.settings import RecommendationsSettings
from itememb_core.users.model import UserModel
from itememb_core.users.recommendations import cold_places, recommendations, user_embeddings
from itememb_core.users.towers import towers_state
from itememb_core.users.training.fit import fit_user_model
from tests.worlds.pickled import Pickled
from tests.worlds.users import SMALL, fitted, habits, items_of

pytestmark = pytest.mark.usefixtures("one_thread")


IDS = ["fmcg_a", "fmcg_b", "offer_c", "x"]


def lists(model, packed, items, **options):
    settings = RecommendationsSettings(**{"k": 5, **options})
    return pa.concat_tables(recommendations(model, packed, items, settings)).to_pandas()


def vectors(model, packed):
    return pa.concat_tables(user_embeddings(model, packed))


def test_training_lowers_the_validation_loss_and_keeps_the_best(tmp_path):
    settings = SMALL.model_copy(
        update={"max_epochs": 6, "patience": 6, "validation_share": 0.5, "learning_rate": 0.02}
    )
    model, _, _ = fitted(tmp_path, settings=settings)
    history = model.history.to_pandas()
    assert history.validation_loss.min() < history.validation_loss[0]
    assert model.epochs == history.epoch[history.validation_loss.idxmin()]
    assert training_plot(model.history).startswith(b"\x89PNG")


@pytest.mark.parametrize("loss", ["sampled_softmax", "pairwise_logistic"])
def test_same_seed_same_model_and_another_differs(tmp_path, loss):
    settings = SMALL.model_copy(update={"loss": loss})
    states = []
    for number, seed in enumerate([0, 0, 1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        model, _, _ = fitted(folder, settings=settings, seed=seed)
        states.append(towers_state(model.towers))
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not states[0]["ids"].equal(states[2]["ids"])


def test_given_epochs_train_on_everything(tmp_path):
    model, _, _ = fitted(tmp_path, epochs=1)
    assert model.epochs == 1
    assert model.history["validation_loss"].null_count == 1


def test_saved_and_read_it_lists_the_same(tmp_path):
    model, packed, items = fitted(tmp_path)
    model.save(tmp_path / "model")
    again = UserModel.load(tmp_path / "model", items)
    assert lists(model, packed, items).equals(lists(again, packed, items))
    assert vectors(model, packed).equals(vectors(again, packed))
    with pytest.raises(ItemembError, match="item_dim 5, expected 6"):
        UserModel.load(tmp_path / "model", items_of([f"fmcg_{n}" for n in range(30)], dim=5))


def test_a_model_is_not_read_with_other_items_of_the_same_number(tmp_path):
    model, _, items = fitted(tmp_path)
    model.save(tmp_path / "model")
    ids = items.vocabulary["item_id"].to_pylist()
    others = items_of([*ids[1:], ids[0]])
    with pytest.raises(ItemembError, match="other items"):
        UserModel.load(tmp_path / "model", others)


def test_a_loss_that_is_no_number_names_the_step(tmp_path):
    _, packed, items = fitted(tmp_path, epochs=1)
    broken = replace(items, vectors=np.full_like(items.vectors, np.nan))
    with pytest.raises(ItemembError, match=r"loss is nan at step 1 of pass 1"):
        fit_user_model(packed, broken, SMALL, seed=0)


def test_lists_and_vectors(tmp_path):
    model, packed, items = fitted(tmp_path)
    table = lists(model, packed, items)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 40
    assert (table.groupby("user_id").score.diff().dropna() <= 0).all()
    assert not table.duplicated(["user_id", "item_id"]).any()
    assert table.item_id.str.startswith("fmcg_").all()
    people = vectors(model, packed)
    assert people.schema == schemas.user_embeddings(SMALL.dim)
    assert people["user_id"].to_pylist() == list(range(40))
    # A user's favourites are recommended.
    _, rows = habits()
    favourites = {(user, item) for user, _, item in rows if item != "opaque"}
    hits = [(user, item) in favourites for user, item in zip(table.user_id, table.item_id)]  # noqa: B905
    assert np.mean(hits) > 0.9


@pytest.mark.parametrize("parts", [Threads(2), Pickled()], ids=["threads", "another process"])
def test_whoever_takes_the_shards_the_tables_are_the_same(tmp_path, parts):
    model, packed, items = fitted(tmp_path)
    # One shard twice stands for two.
    packed = replace(packed, names=packed.names * 2)
    settings = RecommendationsSettings(k=5)
    there = list(recommendations(model, packed, items, settings, parts=parts))
    assert there == list(recommendations(model, packed, items, settings))
    assert there[1] == there[2]
    assert there[1].num_rows == 200
    people = list(user_embeddings(model, packed, parts=parts))
    assert people == list(user_embeddings(model, packed))
    assert [table.num_rows for table in people] == [0, 40, 40]


def test_seen_items_can_be_left_out(tmp_path):
    model, packed, items = fitted(tmp_path)
    table = lists(model, packed, items, exclude_seen=True, k=30)
    _, rows = habits()
    previous = {(user, item) for user, _, item in rows}
    assert not any(pair in previous for pair in zip(table.user_id, table.item_id, strict=True))
    distinct = len({pair for pair in previous if pair[1] != "opaque"})
    assert len(table) == 40 * 30 - distinct


EDGES = {
    "one event": [(1, 0, "fmcg_a")],
    "all at one time": [(1, 0, item) for item in IDS * 5],
    "opaque items only": [(1, hour, "x") for hour in range(30)],
}


@pytest.mark.parametrize("name", EDGES)
def test_users_at_the_edges_beside_others(tmp_path, name):
    ids, rows = habits()
    rows = [*((user + 10, hour, item) for user, hour, item in rows), *EDGES[name]]
    model, packed, items = fitted(tmp_path, rows=rows, ids=sorted({*ids, *IDS}))
    table = lists(model, packed, items)
    assert (table.user_id == 1).sum() == 5
    assert np.isfinite(table.score).all()
    assert np.isfinite(np.stack(vectors(model, packed)["embedding"].to_pylist())).all()


@pytest.mark.parametrize("name", EDGES)
def test_only_such_a_user(tmp_path, name):
    model, packed, items = fitted(tmp_path, rows=EDGES[name], ids=IDS)
    assert model.reason == "no event is followed by a target"
    assert len(lists(model, packed, items)) == 3


def test_a_very_long_history(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(1, hour / 60, IDS[item]) for hour, item in enumerate(rng.integers(0, 4, 600))]
    model, packed, items = fitted(tmp_path, rows=rows, ids=IDS)
    assert model.reason is None
    assert len(lists(model, packed, items)) == 3


def test_no_targets_and_no_events(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model, packed, items = fitted(tmp_path / "a", rows=[(1, 0, "x"), (1, 9, "x")], ids=["x"])
    assert (model.reason, model.epochs) == ("no event is about a catalog or offer item", 0)
    assert lists(model, packed, items).empty
    assert vectors(model, packed).num_rows == 1
    model, packed, items = fitted(tmp_path / "b", rows=[], ids=IDS)
    assert (model.reason, model.epochs) == ("there are no events", 0)
    assert lists(model, packed, items).empty
    assert vectors(model, packed).schema == schemas.user_embeddings(SMALL.dim)


def test_cold_items_have_the_last_places_of_each_stretch(tmp_path):
    model, packed, items = fitted(tmp_path)
    told = replace(items, cold=items.targets[[3, 7]])
    names = set(items.names(told.cold).to_pylist())
    table = lists(model, packed, told, k=10, cold_share=0.2)
    placed = table[table["rank"].isin([5, 10])]
    assert set(placed.item_id) == names
    assert (placed.groupby("user_id").size() == 2).all()
    assert (
        placed[placed["rank"] == 5].score.values >= placed[placed["rank"] == 10].score.values
    ).all()
    warm = lists(model, packed, items, k=8, cold_share=0.0)
    rest = table[~table["rank"].isin([5, 10])]
    assert rest.item_id.tolist() == warm.item_id.tolist()
    assert table["rank"].tolist() == [*range(1, 11)] * table.user_id.nunique()


@pytest.mark.parametrize(
    ("k", "share", "cold", "places"),
    [(100, 0.05, 50, [19, 39, 59, 79, 99]), (10, 0.2, 1, [9]), (10, 0.0, 5, []), (5, 0.1, 9, [])],
)
def test_cold_places_are_even(k, share, cold, places):
    assert cold_places(k, share, cold).tolist() == places
