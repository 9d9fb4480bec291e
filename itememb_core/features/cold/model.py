"""A fitted feature model and its files: what features say of where an item belongs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.features.cold.baselines import CategoryMeans, apart, content_means, joined
from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.features.cold.methods import CATEGORIES, CONTENT, MIXED
from itememb_core.features.cold.network import Behaviour, Scale, make_network
from itememb_core.features.cold.trained import Trained
from itememb_core.features.likeness.imputation import Normal
from itememb_core.features.likeness.space import LikenessSpace
from itememb_core.model_files import read_json, read_tensors
from itememb_core.settings import FeatureModelSettings

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS: Final = "feature_model.safetensors"
FACTS: Final = "feature_model.json"
MODEL: Final = "feature_model"

#: Where a prediction of the blend comes from before interactions reach it: see ``blended``.
BELIEF: Final = 20.0


class Choices(TypedDict):
    """What the lake's own validation decided.

    ``steps``: of the network. ``predictor``: what predicts the cold items of each channel.
    ``cold``: whether that was above chance there. ``half``: interactions at which an item speaks
    for itself as much as its features do. ``likeness``: share of the likeness part in a vector; 0:
    it has none. ``figures``: rows of ``schemas.EVALUATION``.
    """

    steps: int
    predictor: dict[str, str]
    cold: dict[str, bool]
    half: float
    likeness: float
    figures: list[tuple[str, str, str, float, float | None, float | None]]


@dataclass(frozen=True)
class FeatureModel:
    """The network, the likeness space, and what validation decided of their use.

    Attributes:
        trained: The network; None: nothing to learn from, or features are not used.
        space: What is alike; None: vectors have no likeness part.
        names: Name of each row of the network's categories.
        settings: Of the fit.
        dim: Length of the item model's vectors.
        dims: Width of each block of features that it reads, by name, in order.
        choices: What validation decided.
        reason: Why there is neither; None otherwise.
    """

    trained: Trained | None
    space: LikenessSpace | None
    names: list[str]
    settings: FeatureModelSettings
    dim: int
    dims: Mapping[str, int]
    choices: Choices
    reason: str | None

    def save(self, folder: Path) -> None:
        """Write one safetensors file and one of JSON into an existing folder."""
        from safetensors.numpy import save_file

        arrays: dict[str, np.ndarray] = {}
        if self.trained is not None:
            state = cast("dict[str, Tensor]", self.trained.network.state_dict())
            arrays |= {f"network.{name}": each.numpy() for name, each in state.items()}
        if self.space is not None:
            arrays |= {
                "likeness.mean": self.space.normal.mean,
                "likeness.covariance": self.space.normal.covariance,
                "likeness.axes": self.space.axes,
            }
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS)
        about = {
            "settings": self.settings.model_dump(mode="json"),
            "dim": self.dim,
            "dims": list(self.dims.items()),
            "names": self.names,
            "scale": self.trained and list(self.trained.scale),
            "explained": self.space and self.space.explained,
            "shapes": {name: list(each.shape) for name, each in arrays.items()},
            "choices": self.choices,
            "reason": self.reason,
        }
        (folder / FACTS).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "FeatureModel":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: A file is missing or damaged, or the files disagree.
        """
        facts = read_json(folder / FACTS, MODEL)
        try:
            shapes = cast(dict[str, list[int]], facts["shapes"])
            settings = FeatureModelSettings.model_validate(facts["settings"])
            names, choices = cast(list[str], facts["names"]), cast(Choices, facts["choices"])
            choices["figures"] = [tuple(row) for row in choices["figures"]]  # type: ignore[misc]
            dim, reason = cast(int, facts["dim"]), cast("str | None", facts["reason"])
            dims = dict(cast("list[tuple[str, int]]", facts["dims"]))
            scale, explained = facts["scale"], facts["explained"]
        except (KeyError, TypeError, ValueError) as error:
            raise ItemembError(f"{MODEL}: {folder / FACTS} lacks facts of a fit") from error
        wanted = {name: tuple(shape) for name, shape in shapes.items()}
        arrays = read_tensors(folder / WEIGHTS, MODEL, wanted)
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ItemembError(
                    f"{MODEL}: {folder / WEIGHTS} has {name} of {list(arrays[name].shape)}, "
                    f"expected {list(shape)}"
                )
        trained = None
        if scale is not None:
            found = (len(arrays["network.out.bias"]) - 1) // 2
            if found != dim:
                path = folder / WEIGHTS
                raise ItemembError(f"{MODEL}: {path} gives vectors of {found}, expected {dim}")
            trained = _trained(arrays, Scale(*cast(list[float], scale)), settings, dim, len(names))
        space = None
        if explained is not None:
            normal = Normal(arrays["likeness.mean"], arrays["likeness.covariance"])
            space = LikenessSpace(normal, arrays["likeness.axes"], cast(float, explained))
        return cls(trained, space, names, settings, dim, dims, choices, reason)

    def check(self, dims: Mapping[str, int]) -> None:
        """Compare the blocks of features with those of the fit.

        Raises:
            ItemembError: Their names, order or widths differ; both sums are named.
        """
        if list(dims.items()) != list(self.dims.items()):
            raise ItemembError(
                f"{MODEL}: features have {sum(dims.values())} columns "
                f"({_named(dims)}), expected {sum(self.dims.values())} ({_named(self.dims)})"
            )

    def on(self, inputs: NodeInputs) -> Trained:
        """The network with the rows of some inputs' categories, which are found by name.

        Raises:
            ItemembError: There is no network, or the inputs have another width.
        """
        if self.trained is None:
            raise ItemembError(f"{MODEL}: no network was trained ({self.reason})")
        self.check(inputs.dims)
        row_of = {name: row for row, name in enumerate(self.names)}
        rows = np.array([row_of.get(name, -1) for name in inputs.paths.names], np.int64)
        return Trained(self.trained.network, self.trained.scale, rows)


def _named(dims: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {width}" for name, width in dims.items()) or "no blocks"


def belief(total: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far each node's own place can be believed, n / (n + 20), float32 [nodes].

    Twenty interactions halve what is unknown of a place that 128 numbers describe by about a
    seventh of them: a weight of examples, which no result hangs on.
    """
    return (total / (total + BELIEF)).astype(np.float32)


@dataclass(frozen=True)
class Predictions:
    """Where each method would put nodes; category means stand for a network that there is not.

    Attributes:
        trained: The network, or None.
        inputs: Features of all nodes.
        own: Where behaviour put all nodes.
        weight: :func:`belief` of them.
        known: Warm nodes to learn from, int64 [n].
        nodes: Nodes that want a vector, int64 [m].
    """

    trained: Trained | None
    inputs: NodeInputs
    own: Behaviour
    weight: NDArray[np.float32]
    known: NDArray[np.int64]
    nodes: NDArray[np.int64]

    def of(self, method: str) -> Behaviour:
        """The prediction of one of ``methods.PLAIN``; what two have in common is made once."""
        if method in MIXED:
            both = [joined(self.of(each)) for each in MIXED[method]]
            return apart(np.mean(both, axis=0))
        if method == CONTENT:
            return self._content
        return self._categories if method == CATEGORIES else self._features

    @cached_property
    def _content(self) -> Behaviour:
        return content_means(self.inputs, self.own, self.known, self.nodes)

    @cached_property
    def _base(self) -> NDArray[np.float32]:
        means = CategoryMeans(self.inputs.paths, self.own, self.weight, self.known)
        return means.of(self.nodes)

    @cached_property
    def _categories(self) -> Behaviour:
        return apart(self._base)

    @cached_property
    def _features(self) -> Behaviour:
        if self.trained is None:
            return self._categories
        return self.trained.predict(self.inputs, self._base, self.nodes)


def _trained(
    arrays: dict[str, np.ndarray],
    scale: Scale,
    settings: FeatureModelSettings,
    dim: int,
    categories: int,
) -> Trained:
    """The network of a stored fit."""
    import torch

    width = arrays["network.first.weight"].shape[1] - settings.category_dim
    network = make_network(width, categories, dim, settings.hidden, settings.category_dim, 0)
    prefix = "network."
    state = {
        name.removeprefix(prefix): torch.from_numpy(each)
        for name, each in arrays.items()
        if name.startswith(prefix)
    }
    network.load_state_dict(state)
    return Trained(network, scale, np.arange(categories, dtype=np.int64))
