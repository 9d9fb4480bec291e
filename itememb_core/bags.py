"""The one definition of a bag, of which bridges are made.

A *bag* is the set of items of strength > 0 that one user has in one channel within a window.
Windows are ``window_days`` days long and count from 1970-01-01, so that a window's days stay
together whatever days a lake holds. The bags of one user and window in two channels make the pairs
of a bridge, each with weight 1 / sqrt(size_a * size_b).

The ``bridge_edges`` table (Ibis) and the spectral start of the item vectors (NumPy) take bags as
they are here. Training draws the same pairs without the borders between windows: of an entry and
any other within half a window of it (``items/training/sampler.py``). All read
``item_model.window_days``.
"""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np

_Days = TypeVar("_Days", "ir.IntegerValue", "np.ndarray")


def bag_window(day: _Days, window_days: int) -> _Days:
    """Window of days since 1970-01-01, as an Ibis expression or a NumPy array, as given."""
    return day // window_days
