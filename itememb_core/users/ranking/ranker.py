"""What orders the candidates of a user: one part alone, a weighted sum, or boosted trees."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.learning.trees import Trees, fit_trees
from itememb_core.model_files import read_json
from itememb_core.users.baselines.protocol import Scores
from itememb_core.users.ranking.candidates import DEPTH, Block, blocks, feature_names
from itememb_core.users.ranking.linear import Linear, fit_linear, texts
from itememb_core.users.ranking.lists import Lists
from itememb_core.users.ranking.parts import Parts
from itememb_core.users.shards import Shard

RANKER_FILE: Final = "ranker.json"
TREES_FILE: Final = "ranker.txt"

#: Listwise: cross-entropy whose gradients are bound to NDCG (Bruch 2021, "An Alternative Cross
#: Entropy Loss for Learning-to-Rank"). Small trees that shrink: some hundred users may be all.
TREES: Final = {
    "objective": "rank_xendcg",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
}
ROUNDS: Final = 150

_NAME: Final = "ranking"


class Order(Protocol):
    """What a ranker scores candidates with."""

    def scores(self, features: NDArray[np.float32], names: tuple[str, ...]) -> NDArray[np.floating]:
        """Scores ``[n]`` of features ``[n, names]``."""
        ...


@dataclass(frozen=True)
class Alone:
    """One part's order."""

    part: str

    def scores(self, features: NDArray[np.float32], names: tuple[str, ...]) -> NDArray[np.float32]:
        """See :class:`Order`."""
        return -features[:, names.index(f"rank_{self.part}")]


@dataclass(frozen=True)
class Boosted:
    """Boosted trees over all features."""

    trees: Trees

    def scores(self, features: NDArray[np.float32], names: tuple[str, ...]) -> NDArray[np.float64]:
        """See :class:`Order`.

        Raises:
            ItemembError: If the trees were fitted on other features.
        """
        if self.trees.features != names:
            raise ItemembError(
                f"ranking: trees of features {', '.join(self.trees.features)}, expected "
                f"{', '.join(names)}"
            )
        return self.trees.logits(features)


def fit_boosted(lists: Lists, seed: int) -> Boosted:
    """Fit trees on all candidates, of which some are relevant."""
    return Boosted(fit_trees(
        lists.features, lists.relevant, TREES, names=lists.names, rounds=ROUNDS, seed=seed,
        group=lists.size,
    ))  # fmt: skip


def fit_order(kind: str, lists: Lists, parts: tuple[str, ...], seed: int) -> Order:
    """Fit the order of a kind: ``linear``, ``boosted``, or a part's name, which needs no fit."""
    if kind == "linear":
        return fit_linear(lists, parts)
    return fit_boosted(lists, seed) if kind == "boosted" else Alone(kind)


@dataclass(frozen=True)
class Ranker:
    """An order and the parts that it needs.

    Attributes:
        parts: Whose best targets are candidates, and of which features are made.
        first: The part that orders what is no candidate.
        order: Orders candidates.
        repeats: Whether what a user had may be listed: where nothing comes again it never is.
    """

    parts: tuple[str, ...]
    first: str
    order: Order
    repeats: bool = True

    def scores(
        self,
        parts: Parts,
        shard: Shard,
        users: NDArray[np.int64],
        end: NDArray[np.int64],
        *,
        depth: int = DEPTH,
        without_own: bool = False,
    ) -> Iterator[tuple[slice, Scores]]:
        """Scores of all targets, a block of users at a time ``[block, targets]``.

        Candidates score above 0, best first; what is no candidate below, in the order of
        ``first``; what is left out -inf.

        Args:
            parts: Fitted; of the names of ``parts``.
            shard: Histories.
            users: Rows of ``shard.user_ids``, ascending ``[users]``.
            end: Ends of their histories, each after an event ``[users]``.
            depth: Candidates a part.
            without_own: Whether targets that the user interacted with are left out.
        """
        for part, block in blocks(parts, shard, users, end):
            yield part, self.of_block(block, depth, without_own=without_own)

    def of_block(self, block: Block, depth: int = DEPTH, *, without_own: bool = False) -> Scores:
        """Scores of all targets for a block's users ``[users, targets]``; see :meth:`scores`."""
        without_own = without_own or not self.repeats
        found = block.candidates(block.best(depth, without_own=without_own))
        values = self.order.scores(found.features, feature_names(block.parts.names))
        rest = block.scores[self.first]
        scores = rest - rest.max(axis=1, keepdims=True) - 1
        if len(found.row):
            begin = np.flatnonzero(np.diff(found.row, prepend=-1))
            low = np.minimum.reduceat(values, begin)
            lowest = np.zeros(len(block.users), values.dtype)
            lowest[found.row[begin]] = low
            scores[found.row, found.target] = values - lowest[found.row] + 1
        if without_own:
            scores[block.own.row, block.own.target] = -np.inf
        return scores

    def save(self, folder: Path) -> None:
        """Write ``ranker.json``, and ``ranker.txt`` of trees, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about: dict[str, object] = {
            "parts": list(self.parts), "first": self.first, "repeats": self.repeats,
        }  # fmt: skip
        if isinstance(self.order, Boosted):
            (folder / TREES_FILE).write_text(self.order.trees.text)
        elif isinstance(self.order, Linear):
            about["linear"] = self.order.facts()
        elif isinstance(self.order, Alone):
            about["alone"] = self.order.part
        (folder / RANKER_FILE).write_text(json.dumps(about, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> "Ranker":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: If a file is missing or damaged.
        """
        path = folder / RANKER_FILE
        about = read_json(path, _NAME)
        order: Order
        if "linear" in about:
            order = Linear.of(about["linear"])
        elif "alone" in about:
            order = Alone(str(about["alone"]))
        else:
            order = Boosted(Trees.read(folder / TREES_FILE, _NAME))
        parts, first = tuple(texts(about.get("parts"))), str(about.get("first"))
        if first not in parts:
            raise ItemembError(f"{_NAME}: {path} names {first} first, expected one of its parts "
                               f"({', '.join(parts)})")  # fmt: skip
        return cls(parts, first, order, bool(about.get("repeats", True)))
