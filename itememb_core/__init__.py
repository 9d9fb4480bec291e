"""Item vectors, links and user vectors as plain functions; nothing here knows Dagster.

The names that people use, in the order of the pipeline; each is imported when it is first used.
Relational functions take and give Ibis tables (:func:`from_pandas` makes one of a DataFrame),
numeric ones Arrow tables and NumPy arrays. Models share one habit: ``fit_…(…) -> Model``,
``Model.save(folder)``, ``Model.load(folder)``. Raw files are read by :mod:`itememb_core.raw`;
``examples/without_dagster.ipynb`` goes from DataFrames to links.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from itememb_core.edges import (
        copurchase_edges,
        coview_edges,
        edges_by_month,
        user_items,
    )
    from itememb_core.errors import ItemembError
    from itememb_core.evaluation.split import link_holdout
    from itememb_core.features.categories.poincare import fit_poincare
    from itememb_core.items.index import ItemIndex, build_index
    from itememb_core.items.model import ItemModel
    from itememb_core.items.similar import similar_items
    from itememb_core.items.training import fit as fit_item_model
    from itememb_core.items.training import training_data as item_training_data
    from itememb_core.items.vocabulary import build_vocabulary
    from itememb_core.links.candidates import cross_domain_links, link_candidates
    from itememb_core.links.evidence import receipt_facts
    from itememb_core.links.pool import LinkData, link_pool
    from itememb_core.links.scorer.fit import fit_scorer as fit_link_scorer
    from itememb_core.links.scorer.model import LinkScorer
    from itememb_core.settings import Settings
    from itememb_core.tables import clean_events, from_pandas
    from itememb_core.users.histories import user_histories
    from itememb_core.users.items import item_space
    from itememb_core.users.model import UserModel
    from itememb_core.users.recommendations import recommendations
    from itememb_core.users.shards import pack_histories
    from itememb_core.users.training.fit import fit_user_model

__all__ = [
    "ItemIndex",
    "ItemModel",
    "ItemembError",
    "LinkData",
    "LinkScorer",
    "Settings",
    "UserModel",
    "build_index",
    "build_vocabulary",
    "clean_events",
    "copurchase_edges",
    "coview_edges",
    "cross_domain_links",
    "edges_by_month",
    "fit_item_model",
    "fit_link_scorer",
    "fit_poincare",
    "fit_user_model",
    "from_pandas",
    "item_space",
    "item_training_data",
    "link_candidates",
    "link_holdout",
    "link_pool",
    "pack_histories",
    "receipt_facts",
    "recommendations",
    "similar_items",
    "user_histories",
    "user_items",
]

#: Where each name is defined: its module under this package, and what it is called there.
_DEFINED: Final = {
    "ItemIndex": ("items.index", "ItemIndex"),
    "ItemModel": ("items.model", "ItemModel"),
    "ItemembError": ("errors", "ItemembError"),
    "LinkData": ("links.pool", "LinkData"),
    "LinkScorer": ("links.scorer.model", "LinkScorer"),
    "Settings": ("settings", "Settings"),
    "UserModel": ("users.model", "UserModel"),
    "build_index": ("items.index", "build_index"),
    "build_vocabulary": ("items.vocabulary", "build_vocabulary"),
    "clean_events": ("tables", "clean_events"),
    "copurchase_edges": ("edges", "copurchase_edges"),
    "coview_edges": ("edges", "coview_edges"),
    "cross_domain_links": ("links.candidates", "cross_domain_links"),
    "edges_by_month": ("edges", "edges_by_month"),
    "fit_item_model": ("items.training", "fit"),
    "fit_link_scorer": ("links.scorer.fit", "fit_scorer"),
    "fit_poincare": ("features.categories.poincare", "fit_poincare"),
    "fit_user_model": ("users.training.fit", "fit_user_model"),
    "from_pandas": ("tables", "from_pandas"),
    "item_space": ("users.items", "item_space"),
    "item_training_data": ("items.training", "training_data"),
    "link_candidates": ("links.candidates", "link_candidates"),
    "link_holdout": ("evaluation.split", "link_holdout"),
    "link_pool": ("links.pool", "link_pool"),
    "pack_histories": ("users.shards", "pack_histories"),
    "receipt_facts": ("links.evidence", "receipt_facts"),
    "recommendations": ("users.recommendations", "recommendations"),
    "similar_items": ("items.similar", "similar_items"),
    "user_histories": ("users.histories", "user_histories"),
    "user_items": ("edges", "user_items"),
}


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first used."""
    if name not in _DEFINED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _DEFINED[name]
    found = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
