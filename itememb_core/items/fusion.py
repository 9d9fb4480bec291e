"""``item_embeddings``: what interactions say of an item and what is known of it, as one vector."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.cold.blend import blended
from itememb_core.features.cold.fit import FeatureData
from itememb_core.features.cold.methods import CATEGORIES, FEATURES
from itememb_core.features.cold.model import FeatureModel, Predictions, belief
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.likeness.choice import joined
from itememb_core.items.vectors import (
    BEHAVIOUR,
    FROM_BEHAVIOUR,
    FROM_BOTH,
    FROM_FEATURES,
    LIKENESS,
    vector_column,
)


class Fused(NamedTuple):
    """The table, and how many of its rows came from what.

    Attributes:
        table: ``schemas.item_embeddings``; its metadata says how wide the parts are.
        sources: Rows by ``source``.
    """

    table: pa.Table
    sources: dict[str, int]


def fused_embeddings(vocabulary: pa.Table, data: FeatureData, model: FeatureModel) -> Fused:
    """Join both parts of every node.

    The behaviour part is the item model's, or the prediction of the item's features where it has
    no interaction; rare items lie between the two. The likeness part stands beside it. Contexts
    are stretched by what the behaviour part is shortened by and zero where the likeness part is,
    so that context(query) . embedding(candidate) is what the item model means by it.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        data: Of its nodes.
        model: Fitted on them.

    Raises:
        ItemembError: The model was fitted on vectors of another width.
    """
    dim = data.own.embedding.shape[1]
    if model.dim != dim:
        raise ItemembError(f"feature_model: made for vectors of {model.dim}, found {dim}")
    able = data.able & _used(vocabulary, model)
    placed = _placed(vocabulary, data, model, able) if able.any() else data.own
    parts, embedding, context = {BEHAVIOUR: dim}, placed.embedding, placed.context
    if model.space is not None:
        share, alike = model.choices["likeness"], _likeness(data, model)
        parts[LIKENESS] = alike.shape[1]
        embedding = joined(embedding, alike, share)
        context = np.pad(context / np.sqrt(1 - share), ((0, 0), (0, alike.shape[1])))
    source = _sources(data, able, model)
    columns = [
        *(vocabulary[name].combine_chunks() for name in ("item_id", "side", "domain")),
        source,
        vector_column(embedding),
        vector_column(context.astype(np.float32)),
        pa.array(placed.bias),
    ]
    schema = schemas.item_embeddings(embedding.shape[1], parts)
    counted = source.value_counts().to_pylist()
    sources = {entry["values"]: entry["counts"] for entry in counted}
    return Fused(pa.Table.from_arrays(columns, schema=schema), sources)


def _used(vocabulary: pa.Table, model: FeatureModel) -> NDArray[np.bool_]:
    """Nodes of the domains whose cold items validation found above chance, bool [nodes]."""
    used = [domain for domain, helps in model.choices["cold"].items() if helps]
    domains = vocabulary["domain"]
    return pc.is_in(domains, value_set=pa.array(used, pa.string())).to_numpy().astype(bool)


def _placed(
    vocabulary: pa.Table, data: FeatureData, model: FeatureModel, able: NDArray[np.bool_]
) -> Behaviour:
    """Behaviour of all nodes: cold ones by their domain's best prediction, rare ones blended."""
    half, total = model.choices["half"], data.total
    wanted = np.flatnonzero(able & ((total == 0) | (half > 0)))
    trained = model.on(data.inputs) if model.trained is not None else None
    domain = np.array(vocabulary["domain"].to_pylist())[wanted]
    # The half was chosen with the network: that is what warm items are blended with.
    chosen = [model.choices["predictor"].get(name, CATEGORIES) for name in domain]
    method = np.array(chosen, object)
    method[total[wanted] > 0] = FEATURES
    places = [each.copy() for each in data.own]
    for name in np.unique(method):
        nodes = wanted[method == name]
        found = Predictions(trained, data.inputs, data.own, belief(total), data.warm, nodes).of(
            str(name)
        )
        for column, values in zip(places, found, strict=True):
            column[nodes] = values
    return blended(data.own, Behaviour(*places), total, able, half)


def _likeness(data: FeatureData, model: FeatureModel) -> NDArray[np.float32]:
    """The likeness part, unit vectors; the first axis where nothing at all is known."""
    if model.space is None:
        raise ItemembError("feature_model: there is no likeness part")
    alike = model.space.transform(data.parts)
    alike[~alike.any(axis=1), 0] = 1.0
    return alike


def _sources(data: FeatureData, able: NDArray[np.bool_], model: FeatureModel) -> pa.Array:
    """Where each vector comes from."""
    warm = data.total > 0
    uses = able & (model.choices["half"] > 0)
    if model.space is not None:
        uses |= data.inputs.known.any(axis=1)
    names = np.where(able & ~warm, FROM_FEATURES, np.where(uses & warm, FROM_BOTH, FROM_BEHAVIOUR))
    return pa.array(names.tolist(), pa.string())
