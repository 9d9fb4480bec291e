"""Runs of killed commands, which nobody else ends: Dagster would show them as going on for ever.

What does not belong here: runs of the UI, of schedules and sensors, which are Dagster's own.
"""

from typing import Final

import dagster as dg

from itememb_dagster.lake import Lake

#: Tag of a command's run: its lake, of which a home may hold several.
LAKE_TAG: Final = "itememb/lake"

#: What Dagster shows of such a run.
KILLED: Final = "the command that ran this was killed; run again to go on with what is not made yet"

_GOING_ON: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def lake_tag(lake: Lake) -> dict[str, str]:
    """Return the tag of a command's run."""
    return {LAKE_TAG: str(lake.root.resolve())}


def end_killed_runs(lake: Lake) -> None:
    """Mark the lake's runs of killed commands as failed.

    Only who holds the lake's lock may, before it begins a run: a command holds the lock as long as
    it lives, so that of those that began a run here none does.
    """
    with dg.DagsterInstance.get() as instance:
        found = dg.RunsFilter(tags=lake_tag(lake), statuses=list(_GOING_ON))
        for run in instance.get_runs(found):
            if run.parent_run_id is None:  # else the UI's, which repeats a command's with its tags
                instance.report_run_failed(run, KILLED)
