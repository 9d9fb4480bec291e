"""``user_embeddings`` and ``recommendations``, made shard by shard."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.parts import IN_ORDER, PartExecutor
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import best_columns, padded, top_k
from itememb_core.settings import RecommendationsSettings
from itememb_core.users.items import ItemSpace
from itememb_core.users.model import UserModel
from itememb_core.users.ranking.candidates import DEPTH
from itememb_core.users.ranking.parts import Parts
from itememb_core.users.scoring import cold_matrix, vectors_of_users
from itememb_core.users.shards import PackedHistories, Shard


def user_embeddings(
    model: UserModel,
    packed: PackedHistories,
    progress: Progress = silent,
    parts: PartExecutor = IN_ORDER,
) -> Iterator[pa.Table]:
    """User vectors after each user's last event, a table a shard, ordered by user.

    ``user vector . item vector + bias`` of the item tower is the score without repeats; user
    vectors have any length.

    Args:
        model: Fitted on the items of ``packed``.
        packed: Histories.
        progress: Called after each shard.
        parts: Runs :func:`vectors_of_shard`; a part is a shard's name.

    Yields:
        ``schemas.user_embeddings(dim)``; at least one table, empty where there are no users.
    """
    yield schemas.user_embeddings(model.settings.dim).empty_table()
    tables = parts.map(vectors_of_shard, (model, packed), packed.names)
    for number, table in enumerate(tables):
        yield table
        progress("user embeddings", number + 1, len(packed.names))


def vectors_of_shard(shared: tuple[UserModel, PackedHistories], name: str) -> pa.Table:
    """Vectors of one shard's users, ``schemas.user_embeddings(dim)``."""
    model, packed = shared
    shard, dim = packed.shard(name), model.settings.dim
    column = pa.FixedSizeListArray.from_arrays(_vectors(model, shard).ravel(), dim)
    return pa.table([pa.array(shard.user_ids), column], schema=schemas.user_embeddings(dim))


class Lister(NamedTuple):
    """What all shards share when their users' lists are made.

    Attributes:
        model: Fitted on the items.
        packed: Histories.
        items: Their targets.
        settings: Length of the lists, and what they leave out.
        parts: :meth:`UserModel.parts`.
        cold: :func:`itememb_core.users.scoring.cold_matrix` of ``items.cold``.
    """

    model: UserModel
    packed: PackedHistories
    items: ItemSpace
    settings: RecommendationsSettings
    parts: Parts
    cold: NDArray[np.float32]


def recommendations(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    settings: RecommendationsSettings,
    progress: Progress = silent,
    parts: PartExecutor = IN_ORDER,
) -> Iterator[pa.Table]:
    """The ``k`` first targets of the model's ranking for each user, some tables a shard.

    Of them ``settings.cold_share`` are items that nobody interacted with, the best by the user's
    vector and theirs, at even distances: the last place of each stretch of the list. Ties go to
    the more frequent item. With fewer targets than ``k`` (or fewer that are not
    excluded) a user has as many rows as there are.

    Args:
        model: Fitted on ``items``.
        packed: Histories.
        items: Targets.
        settings: Length of the lists, and what they leave out.
        progress: Called after each shard.
        parts: Runs :func:`lists_of_shard`; a part is a shard's name.

    Yields:
        ``schemas.RECOMMENDATIONS``, ordered by user and rank; at least one table.
    """
    yield schemas.RECOMMENDATIONS.empty_table()
    if not len(items.targets):
        return
    fitted, cold = model.parts(packed, items), cold_matrix(model.towers, items.cold)
    lister = Lister(model, packed, items, settings, fitted, cold)
    for number, tables in enumerate(parts.map(lists_of_shard, lister, packed.names)):
        yield from tables
        progress("recommendations", number + 1, len(packed.names))


def lists_of_shard(shared: Lister, name: str) -> list[pa.Table]:
    """Lists of one shard's users, ``schemas.RECOMMENDATIONS``, a table a block of scores."""
    model, items, settings = shared.model, shared.items, shared.settings
    shard = shared.packed.shard(name)
    users, stop = np.arange(len(shard.user_ids)), np.asarray(shard.start[1:])
    blocks = model.ranker.scores(
        shared.parts, shard, users, stop, depth=max(DEPTH, settings.k),
        without_own=settings.exclude_seen,
    )  # fmt: skip
    places = cold_places(settings.k, settings.cold_share, len(shared.cold))
    values = _vectors(model, shard) if len(places) else np.empty((len(users), 0), np.float32)
    tables = []
    for part, scores in blocks:
        ids, best = best_columns(padded(scores), min(settings.k - len(places), len(items.targets)))
        # Where no target is left the columns are those of padding, and score -inf.
        names = items.targets[ids.clip(max=len(items.targets) - 1)]
        if len(places):
            found = top_k(values[part], shared.cold, len(places))
            names, best = _with_cold((names, best), (items.cold[found[0]], found[1]), places)
        tables.append(_rows(shard.user_ids[part], names, best, items))
    return tables


def cold_places(k: int, share: float, cold: int) -> NDArray[np.int64]:
    """Places from 0 of cold items in a list of ``k``: the last of each of as many stretches."""
    many = min(int(k * share + 1e-9), cold)
    return (np.arange(1, many + 1) * k // max(many, 1)) - 1


def _with_cold(
    warm: tuple[NDArray, NDArray], cold: tuple[NDArray, NDArray], places: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nodes and scores [users, k] of both lists, the cold ones at their places."""
    total = warm[0].shape[1] + len(places)
    inside = places[places < total]
    # A short list of targets is not stretched: what has no place there goes to its end.
    inside = np.append(inside, np.arange(total - (len(places) - len(inside)), total))
    own = np.zeros(total, bool)
    own[inside] = True
    joined = []
    for left, right in zip(warm, cold, strict=True):
        both = np.empty((len(left), total), right.dtype)
        both[:, ~own], both[:, own] = left, right
        joined.append(both)
    return joined[0], joined[1]


def _vectors(model: UserModel, shard: Shard) -> NDArray[np.float32]:
    users = np.arange(len(shard.user_ids))
    end = np.asarray(shard.start[1:])
    return vectors_of_users(model.towers, shard, users, end, model.settings)


def _rows(
    users: NDArray[np.int64], nodes: NDArray[np.int32], best: NDArray[np.float32], items: ItemSpace
) -> pa.Table:
    keep = np.isfinite(best)  # [users, k]; -inf is excluded
    rank = keep.cumsum(axis=1, dtype=np.int32)  # from 1, without gaps
    columns = [
        pa.array(np.repeat(users, keep.sum(axis=1))),
        items.names(nodes[keep]),
        pa.array(rank[keep]),
        pa.array(best[keep]),
    ]
    return pa.table(columns, schema=schemas.RECOMMENDATIONS)
