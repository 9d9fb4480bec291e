"""The fit: what the bridge is for, determinism, length, stopping, files."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_core.items.model import ItemModel
from itememb_core.items.training.fit import Trainer, first_rows, fit
from itememb_core.items.training.schedule import HALVINGS, PATIENCE, Schedule
from itememb_core.items.training.start import start_vectors
from itememb_core.schemas import VOCABULARY, item_embeddings
from tests.worlds.two_channels import DAYS, PRODUCTS, SETTINGS, WORLD, final


@pytest.fixture(scope="module")
def model() -> ItemModel:
    return fit(WORLD, SETTINGS, seed=3)


def top1_share(vectors: np.ndarray) -> float:
    cosine = vectors[:PRODUCTS] @ vectors[PRODUCTS:].T
    return float((cosine.argmax(axis=1) == np.arange(PRODUCTS)).mean())


def test_the_bridge_aligns_the_channels_and_without_it_nothing_does(model: ItemModel):
    alone = fit(WORLD, SETTINGS.model_copy(update={"bridge": False}), seed=3)
    assert top1_share(model.embedding) > 0.6
    assert top1_share(alone.embedding) < 0.2
    assert not any("~" in name for name in alone.facts["shares"])


def test_goes_with_ranks_partners_above_strangers(model: ItemModel):
    pairs = WORLD.validation_pairs
    scores = model.context @ model.embedding.T + model.bias
    own = scores[pairs.a, pairs.b]
    stranger = np.random.default_rng(0).integers(PRODUCTS, size=len(own)) + (
        pairs.channel.astype(int) * PRODUCTS
    )
    assert (own > scores[pairs.a, stranger]).mean() > 0.6


def test_vectors_leave_at_unit_norm_and_finite(model: ItemModel):
    assert np.linalg.norm(model.embedding, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(model.context).all()
    assert np.isfinite(model.bias).all()


def test_validation_falls_from_the_first_to_the_best_evaluation(model: ItemModel):
    losses = model.history["validation_loss_receipts~retail"].to_pylist()
    assert model.history["step"].to_pylist()[-1] == model.facts["steps"]
    assert min(losses) == pytest.approx(losses[-1]) or losses[-1] < losses[0]


def test_one_seed_gives_the_same_bytes_and_another_does_not(model: ItemModel):
    again, other = fit(WORLD, SETTINGS, seed=3), fit(WORLD, SETTINGS, seed=4)
    assert again.embedding.tobytes() == model.embedding.tobytes()
    assert again.context.tobytes() == model.context.tobytes()
    assert again.history.equals(model.history)
    assert other.embedding.tobytes() != model.embedding.tobytes()


def test_the_final_fit_repeats_length_and_rates(monkeypatch: pytest.MonkeyPatch):
    # The package exports the function by the module's name.
    monkeypatch.setattr(import_module("itememb_core.items.training.fit"), "INTERVAL", 20)
    like = pa.table({"step": [20, 40, 50], "rate": [0.02, 0.01, 0.005]})
    found = fit(final(WORLD), SETTINGS, seed=3, like=like)
    assert found.history["step"].to_pylist() == [20, 40, 50]
    assert found.history["rate"].to_pylist() == [0.02, 0.01, 0.005]
    assert found.facts["steps"] == 50


def test_the_rate_falls_evenly(model: ItemModel):
    steps, rates = (model.history[n].to_pylist() for n in ("step", "rate"))
    assert steps == [250, 500]
    halfway = (1 + SETTINGS.last_rate) / 2
    assert rates == pytest.approx([SETTINGS.learning_rate, SETTINGS.learning_rate * halfway])


def test_validation_is_on_late_pairs():
    trainer = Trainer(WORLD, SETTINGS, 0, start_vectors(WORLD, SETTINGS, 0))
    assert set(trainer.validation) == {r.name for r in trainer.relations}
    late = set(WORLD.bags.node[WORLD.bags.day >= DAYS - 6].tolist())
    first, second = trainer.validation["receipts~retail"]
    assert set(first.query.tolist()) <= late
    assert set(second.candidate.tolist()) <= late
    nothing = Trainer(final(WORLD), SETTINGS, 0, start_vectors(WORLD, SETTINGS, 0))
    assert nothing.validation == {}


def test_a_plateau_halves_the_rate_and_then_ends():
    schedule = Schedule(0.08)
    assert schedule.observe(10, 5.0)
    rates = []
    for step in range(20, 200, 10):
        assert schedule.observe(step, 5.04)  # near enough to be kept
        rates.append(schedule.rate)
        if schedule.ended:
            break
    assert rates[:4] == [0.08, 0.04, 0.04, 0.02]
    assert len(rates) == PATIENCE * (HALVINGS + 1)
    assert schedule.best_step == step


def test_two_evaluations_in_a_row_that_would_not_be_kept_end_a_fit():
    schedule = Schedule(0.08)
    kept = [schedule.observe(step, loss) for step, loss in enumerate([5.0, 5.06, 5.04, 5.06])]
    assert kept == [True, False, True, False]
    assert not schedule.ended
    assert not schedule.observe(4, 5.06)
    assert schedule.ended
    assert schedule.best_step == 2


def test_only_touched_rows_move():
    lone = 2 * PRODUCTS
    counts = np.vstack([WORLD.counts, np.zeros((1, 4), np.int64)])
    data = replace(WORLD, counts=counts)
    start = start_vectors(data, SETTINGS, 0)
    trainer = Trainer(data, SETTINGS, 0, start)
    for _ in range(20):
        trainer.step(0.01)
    moved = (trainer.tables.embedding.cpu().numpy() != start).any(axis=1)
    assert not moved[lone]
    assert moved[:lone].mean() > 0.9


def test_validation_moves_nothing():
    trainer = Trainer(WORLD, SETTINGS, 0, start_vectors(WORLD, SETTINGS, 0))
    before = trainer.tables.copy()
    first, second = trainer.validate(), trainer.validate()
    assert first == second
    assert set(first) == {"receipts", "retail", "receipts~retail"}
    for name in ("embedding", "context", "bias"):
        assert torch.equal(getattr(before, name), getattr(trainer.tables, name))


def test_steps_follow_the_shares():
    trainer = Trainer(WORLD, SETTINGS, 0, start_vectors(WORLD, SETTINGS, 0))
    for _ in range(50):
        trainer.step(0.01)
    steps = {r.name: r.steps for r in trainer.relations}
    assert steps["receipts~retail"] == 35
    assert abs(steps["receipts"] - steps["retail"]) <= 1


def test_a_loss_that_is_no_number_names_the_step(monkeypatch: pytest.MonkeyPatch):
    step = Trainer.step

    def breaks(self: Trainer, rate: float) -> tuple[str, float]:
        if sum(r.steps for r in self.relations) == 6:
            self.tables.embedding.fill_(float("nan"))
        return step(self, rate)

    monkeypatch.setattr(Trainer, "step", breaks)
    with pytest.raises(ItemembError, match=r"is nan at step 7,"):
        fit(WORLD, SETTINGS, seed=0)


def test_nothing_to_train_on_gives_start_vectors_and_a_reason():
    empty = final(WORLD).without_bridge()
    none = replace(empty, pairs=empty.validation_pairs)
    found = fit(none, SETTINGS, seed=0)
    assert "no pairs" in found.facts["reason"]
    assert np.linalg.norm(found.embedding, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert found.history.num_rows == 0


def test_one_relation_alone_trains():
    only_pairs = fit(WORLD.without_bridge(), SETTINGS, seed=0)
    only_bags = fit(replace(final(WORLD), pairs=final(WORLD).validation_pairs), SETTINGS, seed=0)
    assert set(only_pairs.facts["shares"]) == {"receipts", "retail"}
    assert set(only_bags.facts["shares"]) == {"receipts~retail"}


def vocabulary(rows: int) -> pa.Table:
    columns = {"index": range(rows), "item_id": [f"i{i}" for i in range(rows)],
               "side": ["all"] * rows, "domain": ["receipt"] * rows}  # fmt: skip
    zeros = {name: [0] * rows for name in VOCABULARY.names if name.startswith("count_")}
    return pa.table({**columns, **zeros}, schema=VOCABULARY)


def test_files_come_back_equal_and_hold_no_clock(model: ItemModel, tmp_path: Path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        model.save(folder)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == [
        "history.parquet", "model.safetensors", "settings.json", "training_history.png",
    ]  # fmt: skip
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    again = ItemModel.load(folders[0])
    assert (again.embedding == model.embedding).all()
    assert again.history.equals(model.history)
    assert again.facts == model.facts


def test_a_model_cut_short_is_named(model: ItemModel, tmp_path: Path):
    model.save(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ItemembError, match="cannot be read"):
        ItemModel.load(tmp_path)


def test_the_table_follows_the_vocabulary(model: ItemModel):
    table = model.table(vocabulary(2 * PRODUCTS))
    assert table.schema == item_embeddings(16)
    assert np.allclose(table["embedding"][3].as_py(), model.embedding[3])
    with pytest.raises(ItemembError, match="80 vectors, expected 7"):
        model.table(vocabulary(7))


def test_rows_of_half_precision_find_matches_as_well(model: ItemModel):
    half = fit(WORLD, SETTINGS.model_copy(update={"row_type": "bfloat16"}), seed=3)
    assert top1_share(half.embedding) > top1_share(model.embedding) - 0.1


def test_random_rows_of_half_precision_take_over_the_memory_of_the_start():
    settings = SETTINGS.model_copy(update={"start": "random", "row_type": "bfloat16"})
    start = start_vectors(WORLD, settings, 3)
    full = start_vectors(WORLD, settings.model_copy(update={"row_type": "float32"}), 3)
    assert (start.dtype, full.dtype) == (np.float16, np.float32)
    rows = first_rows(start, "bfloat16")
    assert rows.data_ptr() == start.ctypes.data
    assert np.abs(rows.float().numpy() - full).max() < 2**-8


def test_lazy_adam_finds_matches_as_well():
    settings = {"optimizer": "adam", "learning_rate": 0.01, "context_rate": 3.0}
    assert top1_share(fit(WORLD, SETTINGS.model_copy(update=settings), seed=3).embedding) > 0.6


def test_a_learned_temperature_falls_the_loss_where_it_is_far_off():
    far = SETTINGS.model_copy(update={"temperature": 1.0})
    learning = far.model_copy(update={"learn_temperature": True})
    fixed, learned = (fit(WORLD, each, seed=3) for each in (far, learning))
    assert fixed.facts["temperature"] == 1.0
    assert learned.facts["temperature"] < 0.7
    name = "train_loss_receipts~retail"
    assert learned.history[name].to_pylist()[-1] < fixed.history[name].to_pylist()[-1]


def test_the_gradient_by_the_log_scale_is_autograds():
    trainer = Trainer(WORLD, SETTINGS, 0, start_vectors(WORLD, SETTINGS, 0))
    trainer.product = torch.float32
    relation = next(r for r in trainer.relations if r.bridge)
    batch, seen = relation.next_batch(), []
    step = trainer._steps["log_scale"]
    step.step = lambda rows, gradient, rate: seen.append(gradient.item())
    trainer.settings = SETTINGS.model_copy(update={"learn_temperature": True})
    scale = trainer.tables.log_scale
    at = float(scale)
    losses = []
    for moved in (at + 1e-2, at - 1e-2):
        scale.fill_(moved)
        losses.append(trainer._update(relation, batch, 0.0))
    scale.fill_(at)
    trainer._update(relation, batch, 1e-9)
    assert seen[0] == pytest.approx((losses[0] - losses[1]) / 2e-2, rel=1e-2)
