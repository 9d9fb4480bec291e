"""Relations as streams of batches: further negatives and what they weigh."""

import numpy as np
import pytest

from itememb_core.items.training.fit import fit
from itememb_core.items.training.relations import relations_of
from tests.worlds.two_channels import PRODUCTS, SETTINGS, WORLD

MORE = SETTINGS.model_copy(update={"uniform_negatives": 32})
NONE = SETTINGS.model_copy(update={"uniform_negatives": 0})


def bridge(settings):
    (found,) = (r for r in relations_of(WORLD, settings, 0, "cpu") if r.bridge)
    return found


def test_further_negatives_come_evenly_from_the_candidates_side():
    size, drawn, pairs = SETTINGS.batch_size, np.zeros(2 * PRODUCTS), np.zeros(2 * PRODUCTS)
    relation = bridge(MORE.model_copy(update={"negatives": size}))
    batches = [relation.next_batch() for _ in range(400)]
    for batch in batches:
        assert batch.count.sum() == size + 32
        candidate = batch.candidate.numpy()
        np.add.at(drawn, candidate, batch.count.numpy())
        np.add.at(pairs, candidate[batch.pair_candidate.numpy()], 1)
    # The ends take turns as query, so half of the batches draw from either side.
    more = drawn - pairs
    assert more[:PRODUCTS].sum() == more[PRODUCTS:].sum() == 200 * 32
    assert more == pytest.approx(np.full(2 * PRODUCTS, 200 * 32 / PRODUCTS), rel=0.25)


def test_a_weight_is_one_over_the_chance_of_either_draw():
    relation = bridge(MORE)
    share = relation.source.marginal.b
    shared = SETTINGS.negatives
    assert shared < SETTINGS.batch_size
    chance = (shared * share + 32 * (share > 0) / PRODUCTS) / (shared + 32)
    batch = relation.next_batch()  # the first has the first end as query
    assert batch.count.sum() == shared + 32
    assert len(batch.apart) > 0
    nodes = batch.candidate.numpy()
    assert batch.weight.numpy() == pytest.approx(1 / (chance[nodes] * len(share)), rel=1e-5)


def test_with_them_the_fit_is_another_and_still_finds_matches():
    fewer = fit(WORLD, NONE, seed=3)
    more = fit(WORLD, MORE, seed=3)
    assert fewer.embedding.tobytes() != more.embedding.tobytes()
    cosine = more.embedding[:PRODUCTS] @ more.embedding[PRODUCTS:].T
    assert (cosine.argmax(axis=1) == np.arange(PRODUCTS)).mean() > 0.6
