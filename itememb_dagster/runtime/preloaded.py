"""What the fork server imports and does once, so that a step's process has little left to do.

Imported by the fork server alone (``executor.start_fork_server``). Nothing here may start a thread:
it would be missing in every step.
"""

import importlib
import warnings

import dagster as dg
import faiss  # noqa: F401, TID253
import ibis.backends.duckdb  # noqa: F401
import matplotlib.figure  # noqa: F401, TID253
import pyarrow.parquet  # noqa: F401
import scipy.sparse  # noqa: F401, TID253
import sklearn.decomposition  # noqa: TID253
import sklearn.feature_extraction.text  # noqa: TID253
import sklearn.manifold  # noqa: F401, TID253
import torch  # noqa: TID253  before lightgbm: it brings libgomp

import lightgbm  # noqa: F401, TID253  isort: skip

import itememb_dagster.definitions  # noqa: F401  built once, used by all steps
from itememb_dagster.runtime.event_log import STEP_MODULE

importlib.import_module(STEP_MODULE)
# The first optimizer of a process imports torch's compiler, which takes seconds.
torch.optim.SGD([torch.zeros(1, requires_grad=True)])


@dg.asset
def _nothing() -> None:
    """An asset whose execution imports what executing imports."""


with warnings.catch_warnings(), dg.DagsterInstance.get() as instance:
    instance.get_runs(limit=1)
    dg.materialize(
        [_nothing],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
