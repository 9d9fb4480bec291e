"""All stages in the order of the graph."""

from typing import Final

from itememb_dagster.assets import edges, evaluation, features, items, links, tables, users, vectors
from itememb_dagster.factory.stage import Stage

STAGES: Final[tuple[Stage, ...]] = (
    *tables.STAGES,
    *edges.STAGES,
    *items.STAGES,
    *features.STAGES,
    *vectors.STAGES,
    *links.STAGES,
    *evaluation.STAGES,
    *users.STAGES,
)
