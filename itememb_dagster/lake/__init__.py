"""The lake: where tables and versions lie, how they are read and replaced atomically."""

from itememb_dagster.lake.stamps import Stamp
from itememb_dagster.lake.store import Key, Lake, LakeNote

__all__ = ["Key", "Lake", "LakeNote", "Stamp"]
