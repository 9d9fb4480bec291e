"""The tables that a feature model is fitted on, as arrays by node."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.features.cold.fit import FeatureData
from itememb_core.features.cold.inputs import node_inputs, paths_of
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.fused import read_features
from itememb_core.items.model import ItemModel
from itememb_core.items.training.data import Pairs
from itememb_core.items.vectors import one_array
from itememb_core.items.vocabulary import RECEIPTS_SIDE, node_counts
from itememb_core.services import RECEIPT_DOMAIN


def feature_data(
    model: ItemModel,
    vocabulary: pa.Table,
    features: pa.Table,
    categories: pa.Table,
    pairs: Pairs | None = None,
    recent: Pairs | None = None,
) -> FeatureData:
    """Bring tables of one vocabulary together.

    Args:
        model: Where behaviour put its nodes.
        vocabulary: ``schemas.VOCABULARY``.
        features: ``schemas.item_features`` of its nodes, in their order.
        categories: ``schemas.category_embeddings``; of it the paths are read.
        pairs: That the model was trained on; None: none are needed.
        recent: Those of its validation days.
    """
    empty = np.empty(0, np.int32)
    none = Pairs(empty, empty, np.empty(0, np.int8), np.empty(0, np.float32))
    domain = one_array(vocabulary["domain"]).dictionary_encode()
    sides = np.array(vocabulary["side"].to_pylist()) == "all"
    own = Behaviour(model.embedding, model.context, model.bias)
    return FeatureData(
        own=own,
        counts=node_counts(vocabulary),
        catalog=sides & (np.array(vocabulary["domain"].to_pylist()) != RECEIPT_DOMAIN),
        domain=domain.indices.to_numpy().astype(np.int64),
        inputs=node_inputs(read_features(features), paths_of(vocabulary, categories)),
        pairs=none if pairs is None else pairs,
        recent=none if recent is None else recent,
        matches=_matches(vocabulary),
    )


def _matches(vocabulary: pa.Table) -> NDArray[np.int64]:
    """Both nodes of what is two: its receipts side and the other, int64 [matches, 2]."""
    apart = pc.equal(vocabulary["side"], RECEIPTS_SIDE).to_numpy().astype(bool)
    ids, nodes = one_array(vocabulary["item_id"]), np.arange(vocabulary.num_rows)
    places = pc.index_in(ids.filter(pa.array(apart)), value_set=ids.filter(pa.array(~apart)))
    return np.stack([nodes[apart], nodes[~apart][places.to_numpy()]], axis=1)
