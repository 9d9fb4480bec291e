"""Time features and repeat features against hand-computed values."""

import numpy as np
import pytest

from itememb_core.users.features import (
    EVENT_FEATURES,
    HALF_LIVES,
    acceleration,
    decayed_counts,
    event_features,
    gaps,
    repeat_features,
    velocity,
)

# One user at hours 0, 12, 24 and 24, another at hour 30 alone.
SECONDS = 3600.0 * np.array([0, 12, 24, 24, 30])
START = np.array([0, 4, 5])


def test_gaps_by_hand():
    assert gaps(SECONDS, START).tolist() == [0, 12, 12, 0, 0]


def test_velocity_by_hand():
    # The window (t - 24 h, t] leaves out hour 0 at hour 24; a tie counts the ones before it.
    expected = np.array([1, 2, 2, 3, 1]) / 24
    assert velocity(SECONDS, START) == pytest.approx(expected)


def test_acceleration_by_hand():
    speed = velocity(SECONDS, START)
    assert acceleration(speed, START) == pytest.approx(np.array([0, 1, 0, 1, 0]) / 24)


def test_event_features_by_hand():
    # 1970-01-01 06:00: a quarter of the day, the first day of the week's circle.
    row = event_features(np.array([6 * 3600.0]), np.array([0, 1]))[0]
    assert row == pytest.approx([0, 1, 0, 0, 1, np.log1p(1 / 24), 0], abs=1e-6)
    assert event_features(SECONDS, START).shape == (5, EVENT_FEATURES)
    assert event_features(np.empty(0), np.array([0])).shape == (0, EVENT_FEATURES)


def test_decayed_counts_by_hand():
    # Two pairs: at days 0 and 7 and 14, and at day 5 alone.
    result = decayed_counts(np.array([0.0, 7, 14, 5]), np.array([0, 3, 4]))
    assert result[:, 0] == pytest.approx([1, 1.5, 1.75, 1])  # half-life 7
    slow = 2 ** (-7 / HALF_LIVES[1])
    assert result[:, 1] == pytest.approx([1, 1 + slow, 1 + slow * (1 + slow), 1])


def test_repeat_features_by_hand():
    row = repeat_features(
        count=np.array([3]),
        decayed=np.array([[1.5, 2.0, 2.5]], np.float32),
        since_last=np.array([7.0]),
        since_first=np.array([27.0]),
        total=np.array([12]),
        distinct=np.array([4]),
        item_stats=np.array([[0.25, -2.0]], np.float32),
    )[0]
    fade = 2 ** (-7 / np.array(HALF_LIVES))
    expected = [
        np.log(3),
        np.log(8) / 2,
        7 / 11,  # every ten days, one more against a cycle of nothing
        np.log(3 / 12) / 2,
        np.log(13) / 4,
        1 - 4 / 12,
        0.25,
        -0.5,
        *(np.log(np.array([1.5, 2.0, 2.5]) * fade + 1e-3) / 2),
    ]
    assert row == pytest.approx(expected, abs=1e-6)
