"""Dagster's home: the folder of its event log, with our ``dagster.yaml`` in it.

What does not belong here: Dagster itself, which reads it.
"""

import os
from pathlib import Path
from typing import Final

from itememb_core.errors import ItemembError

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


def use_dagster_home() -> Path:
    """Return Dagster's home, ``.dagster`` in the working folder unless set, and make it ready.

    Raises:
        ItemembError: If it cannot be made or written.
    """
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / ".dagster"))).absolute()
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            config.write_text(INSTANCE)
    except OSError as error:
        raise ItemembError(
            f"DAGSTER_HOME: {home} is no folder that can be written ({error.strerror})"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    return home
