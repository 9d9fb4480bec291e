"""The log-likelihood ratio of two profiles against its definition, and the fit of its shape."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.sparse import csr_matrix
from scipy.stats import gamma, nbinom, poisson

from itememb_core.links.likelihood import SHAPES, PairScores, Side, fit_shape


def side(counts, share):
    counts = np.asarray(counts, np.float32)
    return Side(csr_matrix(counts), np.asarray(share, float), counts.sum(axis=1).astype(float))


def drawn(rng, items, share, shape, most=60):
    totals = rng.integers(1, most, items)
    return rng.poisson(totals[:, None] * share * rng.gamma(shape, 1 / shape, (items, len(share))))


def scores(queries, base, shape):
    """All pairs, from stored products and one by one."""
    n, m = queries.counts.shape[0], base.counts.shape[0]
    pairs, rows = PairScores(queries, base, shape), slice(0, n)
    shared = pairs.shared(rows)
    stored = shared.copy()
    stored.data = pairs.ratios(shared, rows)
    query, other = np.divmod(np.arange(n * m), m)
    every = pairs.at(shared, rows, query, other).reshape(n, m)
    return shared, stored.toarray(), every


def by_integration(x, y, x_mean, y_mean, k):
    """log P(x, y | one item) - log P(x) - log P(y), the shared multiplier integrated out."""

    def density(m):
        counts = poisson.pmf(x, x_mean * m) * poisson.pmf(y, y_mean * m)
        return counts * gamma.pdf(m, k, scale=1 / k)

    both = quad(density, 0, 200, limit=400, points=[1e-3, 0.1, 1, 10])[0]
    alone = [nbinom.logpmf(c, k, k / (k + mean)) for c, mean in ((x, x_mean), (y, y_mean))]
    return np.log(both) - sum(alone)


def test_one_column_is_the_integral_over_the_shared_multiplier():
    # One user, all purchases of both sides: means are the totals.
    for x, y, k in ((1, 1, 1.5), (3, 2, 1.5), (4, 1, 2.0)):
        _, stored, every = scores(side([[x]], [1.0]), side([[y]], [1.0]), k)
        expected = by_integration(x, y, x, y, k)
        assert stored[0, 0] == pytest.approx(expected, abs=0.03)
        assert every[0, 0] == stored[0, 0]


def test_two_users_by_hand():
    # Totals 2 and 2 over two users who shop alike, k = 1: a = b = 1 everywhere.
    share, k = [0.5, 0.5], 1.0
    same = scores(side([[2, 0]], share), side([[2, 0]], share), k)[2][0, 0]
    # psi(2, 2) = log(3/1) + log(4/2); one-sided terms 2 log(3/2) a side; log(4/3) a column.
    assert same == pytest.approx(np.log(6) - 4 * np.log(1.5) + 2 * np.log(4 / 3), abs=0.02)
    other = scores(side([[2, 0]], share), side([[0, 2]], share), k)[2][0, 0]
    assert other == pytest.approx(-4 * np.log(1.5) + 2 * np.log(4 / 3), abs=0.02)


def test_many_pairs_are_what_the_formula_gives():
    from scipy.special import gammaln

    rng, k = np.random.default_rng(0), 0.08
    share, base_share = rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(40))
    x, y = drawn(rng, 25, share, k), drawn(rng, 30, base_share, k)
    x[x.sum(axis=1) == 0, 0] = y[y.sum(axis=1) == 0, 0] = 1
    shared, stored, every = scores(side(x, share), side(y, base_share), k)
    a = (x.sum(axis=1)[:, None] * share / k)[:, None]  # [25, 1, 40]
    b = (y.sum(axis=1)[:, None] * base_share / k)[None]
    p, q = x[:, None], y[None]
    exact = gammaln(k + p + q) + gammaln(k) - gammaln(k + p) - gammaln(k + q)
    exact = exact - p * np.log1p(b / (1 + a)) - q * np.log1p(a / (1 + b))
    exact = (exact + k * np.log((1 + a) * (1 + b) / (1 + a + b))).sum(axis=2)
    assert every == pytest.approx(exact, abs=0.15, rel=0.01)
    overlap = (p > 0) & (q > 0)
    assert np.array_equal(shared.toarray() != 0, overlap.any(axis=2))
    kept = overlap.any(axis=2)
    assert np.allclose(stored[kept], every[kept])


def test_true_matches_score_above_other_pairs():
    rng, k, share = np.random.default_rng(1), 0.1, np.full(80, 1 / 80)
    taste = rng.gamma(k, 1 / k, (60, 80))
    x, y = (rng.poisson(20 * share * taste) for _ in range(2))
    every = scores(side(x, share), side(y, share), k)[2]
    assert (every.argmax(axis=1) == np.arange(60)).mean() > 0.9
    assert np.median(np.diag(every)) > 5
    assert np.median(every[~np.eye(60, dtype=bool)]) < 0


def test_a_user_who_shops_on_one_side_only_is_no_evidence():
    share, base_share = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    with_stranger = scores(side([[1, 3, 0]], share), side([[1, 0, 2]], base_share), 1.0)[2]
    a, b = 4 * 0.5, 3 * 0.5  # only the first user's column counts
    expected = np.log(2) - np.log1p(b / (1 + a)) - np.log1p(a / (1 + b))
    expected += np.log((1 + a) * (1 + b) / (1 + a + b))
    assert with_stranger[0, 0] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("shape", [SHAPES[5], SHAPES[12]])
def test_the_shape_comes_back(shape):
    rng = np.random.default_rng(2)
    share = rng.dirichlet(np.full(200, 5.0))
    found = fit_shape(side(drawn(rng, 400, share, shape), share))
    assert 0.7 < found / shape < 1.5


def test_no_item_no_user_no_shape():
    nothing = side(np.zeros((3, 0)), [])
    assert fit_shape(nothing) == 1.0
    shared, stored, every = scores(nothing, side(np.zeros((2, 0)), []), 1.0)
    assert (shared.nnz, stored.shape) == (0, (3, 2))
    assert not every.any()
