"""``user_embeddings`` and ``recommendations``, made shard by shard."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import best_columns
from itememb_core.settings import RecommendationsSettings
from itememb_core.users.items import ItemSpace
from itememb_core.users.model import UserModel
from itememb_core.users.scoring import item_matrix, model_scores, own_items, vectors_of_users
from itememb_core.users.shards import PackedHistories, Shard


def user_embeddings(
    model: UserModel, packed: PackedHistories, progress: Progress = silent
) -> Iterator[pa.Table]:
    """User vectors after each user's last event, a table a shard, ordered by user.

    ``user vector . item vector + bias`` of the item tower is the score without repeats; user
    vectors have any length.

    Yields:
        ``schemas.user_embeddings(dim)``; at least one table, empty where there are no users.
    """
    schema = schemas.user_embeddings(model.settings.dim)
    yield schema.empty_table()
    for number, shard in enumerate(packed.shards()):
        values = _vectors(model, shard)
        column = pa.FixedSizeListArray.from_arrays(values.ravel(), model.settings.dim)
        yield pa.table([pa.array(shard.user_ids), column], schema=schema)
        progress("user embeddings", number + 1, len(packed.names))


def recommendations(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    settings: RecommendationsSettings,
    progress: Progress = silent,
) -> Iterator[pa.Table]:
    """The ``k`` targets of the highest score for each user, a table a shard.

    Ties go to the more frequent item. With fewer targets than ``k`` (or fewer that are not
    excluded) a user has as many rows as there are.

    Yields:
        ``schemas.RECOMMENDATIONS``, ordered by user and rank; at least one table.
    """
    yield schemas.RECOMMENDATIONS.empty_table()
    if not len(items.targets):
        return
    base = item_matrix(model.towers)
    for number, shard in enumerate(packed.shards()):
        users, stop = np.arange(len(shard.user_ids)), np.asarray(shard.start[1:])
        own = own_items(shard, users, stop, packed.item_stats)
        values = _vectors(model, shard)
        blocks = model_scores(model.towers, values, base, own, exclude_seen=settings.exclude_seen)
        for part, scores in blocks:
            ids, best = best_columns(scores, min(settings.k, len(items.targets)))
            yield _rows(shard.user_ids[part], ids, best, items)
        progress("recommendations", number + 1, len(packed.names))


def _vectors(model: UserModel, shard: Shard) -> NDArray[np.float32]:
    users = np.arange(len(shard.user_ids))
    end = np.asarray(shard.start[1:])
    return vectors_of_users(model.towers, shard, users, end, model.settings)


def _rows(
    users: NDArray[np.int64], ids: NDArray[np.int64], best: NDArray[np.float32], items: ItemSpace
) -> pa.Table:
    keep = np.isfinite(best)  # [users, k]; -inf is excluded
    rank = np.broadcast_to(np.arange(1, ids.shape[1] + 1, dtype=np.int32), ids.shape)
    columns = [
        pa.array(np.repeat(users, keep.sum(axis=1))),
        items.ids(ids[keep]),
        pa.array(rank[keep]),
        pa.array(best[keep]),
    ]
    return pa.table(columns, schema=schemas.RECOMMENDATIONS)
