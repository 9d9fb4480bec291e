"""Dagster's home: the folder of its event log, with our ``dagster.yaml`` in it.

What does not belong here: what Dagster keeps in it.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from itememb_core.errors import ItemembError, UsageError

#: Events that are written to the event log in one transaction.
EVENT_BATCH: Final = 500

#: The instance's ``dagster.yaml``, written once.
INSTANCE: Final = """\
telemetry:
  enabled: false
nux:
  enabled: false
python_logs:
  python_log_level: INFO
event_log_storage:
  module: itememb_dagster.runtime.event_log
  class: BatchedSqliteEventLogStorage
  config:
    base_dir:
      env: DAGSTER_HOME
"""


#: Says that all of Dagster's storages are made; it goes with what it speaks of.
READY: Final = "history/_ready"
LOCK: Final = "_lock"


def use_dagster_home() -> Path:
    """Return Dagster's home, ``.dagster`` in the working folder unless set, and make it ready.

    Raises:
        ItemembError: If it cannot be made or written.
        UsageError: If Dagster's size of a batch of events is no number.
    """
    batch = os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    if not (batch.isascii() and batch.isdecimal()):
        raise UsageError(f"DAGSTER_EVENT_BATCH_SIZE: found {batch!r}, expected a number from 0")
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / ".dagster"))).absolute()
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        os.environ["DAGSTER_HOME"] = str(home)
        if not (config.exists() and (home / READY).exists()):
            _make(home, config)
    except OSError as error:
        raise ItemembError(
            f"DAGSTER_HOME: {home} is no folder that can be written ({error.strerror})"
        ) from error
    return home


def _make(home: Path, config: Path) -> None:
    """Write the configuration and make the storages, one process at a time.

    Two that make them at once leave a database with two versions, which no Dagster opens.

    Raises:
        ItemembError: Dagster cannot open what is there.
    """
    with (home / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not config.exists():
            staged = home / f"_{config.name}"
            staged.write_text(INSTANCE)
            os.replace(staged, config)
        if (home / READY).exists():
            return
        import dagster as dg

        try:
            with dg.DagsterInstance.get() as instance:
                storages = (instance.run_storage, instance.event_log_storage)
                assert all((*storages, instance.schedule_storage))
        except Exception as error:  # of Dagster, its database or what its configuration names
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ItemembError(f"DAGSTER_HOME: {home} cannot be opened ({first})") from error
        (home / READY).parent.mkdir(exist_ok=True)
        (home / READY).touch()
