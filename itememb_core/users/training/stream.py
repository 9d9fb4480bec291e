"""The batches of a pass over the histories, as a stream that worker processes make."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from itememb_core.users.shards import PackedHistories, open_shard
from itememb_core.users.training.batches import Arrays, Sampler, future, limits, make_batch, plan

if TYPE_CHECKING:
    from torch import Tensor

#: Name, dtype, shape and first byte of each array of a batch.
Layout = list[tuple[str, str, tuple[int, ...], int]]


def epoch_batches(
    packed: PackedHistories, sampling: Sampler, epoch: int, worker: int = 0, workers: int = 1
) -> Iterator[Arrays]:
    """The batches of an epoch, one shard after the other.

    A batch depends on the seed, the epoch, the shard and its number, never on which worker makes
    it: worker i makes every ``workers``-th batch from the i-th on.
    """
    order = np.random.default_rng([sampling.seed, epoch]).permutation(len(packed.names))
    number = 0
    for place in order.tolist():
        shard = open_shard(packed.folder / packed.names[place])
        rng = np.random.default_rng([sampling.seed, epoch, place])
        limit = limits(shard, sampling)
        settings = sampling.settings
        ahead = future(shard, limit, settings.horizon_days, settings.user_power)
        for part, table in enumerate(plan(shard, limit, settings, rng)):
            number += 1
            if (number - 1) % workers == worker:
                draw = np.random.default_rng([sampling.seed, epoch, place, part])
                batch = make_batch(shard, table, ahead, sampling, draw)
                yield batch if batch is not None else {}


def batch_stream(
    packed: PackedHistories, sampling: Sampler, epoch: int
) -> "Iterator[dict[str, Tensor]]":
    """The batches of an epoch as tensors, made by worker processes while the model trains.

    The order is the same for any number of workers: each makes every n-th batch.
    """
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Stream(IterableDataset):
        """Batches of one worker, as :func:`_joined` makes them."""

        def __iter__(self) -> "Iterator[tuple[Tensor, Layout]]":
            info = get_worker_info()
            worker, workers = (info.id, info.num_workers) if info else (0, 1)
            for batch in epoch_batches(packed, sampling, epoch, worker, workers):
                yield _joined(batch)

    workers = sampling.settings.workers
    # Forked, so that the shards and the class need no pickling; children touch NumPy alone.
    options: dict[str, Any] = {"multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(Stream(), batch_size=None, num_workers=workers, **options)
    for memory, layout in loader:
        yield _parted(memory, layout)


def _joined(batch: Arrays) -> "tuple[Tensor, Layout]":
    """The arrays of a batch in one piece of memory, bytes, and where each lies in it.

    Between processes each tensor costs a file of its own, which the trainer waits for.
    """
    import torch

    # Widest first, so that all are aligned.
    ordered = sorted(batch.items(), key=lambda named: -named[1].dtype.itemsize)
    parts = [np.ascontiguousarray(array) for _, array in ordered]
    memory = np.empty(sum(part.nbytes for part in parts), np.uint8)
    layout, begin = [], 0
    for (name, _), part in zip(ordered, parts, strict=True):
        memory[begin : begin + part.nbytes] = part.reshape(-1).view(np.uint8)
        layout.append((name, part.dtype.str, part.shape, begin))
        begin += part.nbytes
    return torch.from_numpy(memory), layout


def _parted(memory: "Tensor", layout: Layout) -> "dict[str, Tensor]":
    """The batch that :func:`_joined` was given, as tensors over that memory."""
    import torch

    whole, batch = memory.numpy(), {}
    for name, kind, shape, begin in layout:
        size = math.prod(shape)
        part = np.frombuffer(whole, kind, size, begin) if size else np.empty(0, kind)
        batch[name] = torch.from_numpy(part.reshape(shape))
    return batch
