"""Edges: pairs of items by basket, session and user, from clean events.

What belongs here: everything between the cleaned event tables and the tables that models read.
All of it is Ibis expressions, except the reader ``drop_one_node``.
"""

from itememb_core.edges.bridge import bridge_edges, drop_one_node
from itememb_core.edges.copurchase import copurchase_edges, copurchase_stats
from itememb_core.edges.coview import coview_edges, coview_stats
from itememb_core.edges.months import edges_by_month
from itememb_core.edges.pairs import int64
from itememb_core.edges.sessions import sessionize
from itememb_core.edges.user_items import user_items

__all__ = [
    "bridge_edges",
    "copurchase_edges",
    "copurchase_stats",
    "coview_edges",
    "coview_stats",
    "drop_one_node",
    "edges_by_month",
    "int64",
    "sessionize",
    "user_items",
]
