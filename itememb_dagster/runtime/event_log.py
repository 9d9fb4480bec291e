"""Dagster's SQLite event log with a batch of events in one transaction.

The one module that reaches into private parts of Dagster: a log cannot be batched from outside its
class. ``STEP_MODULE`` is where a step's process begins; the fork server imports it ahead.

Dagster 1.13 commits each event of an asset-day to two databases, 40 to 50 ms a day of an asset;
its own batching (``DAGSTER_EVENT_BATCH_SIZE``) ends in one commit an event on SQLite, too. Here a
batch holds its connections open and commits once, and of an asset's row, which each event
overwrites, it writes what the last one leaves; tags go in together. A single event finds its
database open: the stock class makes an engine and opens the file for each. Nothing else differs: a
home can go back to the stock class at any time.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

from dagster import AssetKey, EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine

from itememb_dagster.runtime.place import without_secrets

#: The version with which all that is private here was tried.
TRIED: Final = "1.13.27"

#: How long a writer waits for another, as in the stock class.
BUSY_SECONDS: Final = 30
#: Databases that are open at once; a run has one.
OPEN: Final = 8

STEP_MODULE: Final = "dagster._core.executor.multiprocess"


def _without_secrets(event: EventLogEntry) -> EventLogEntry:
    """The event; a failure of any library may hold the URL that it opened."""
    if "${" not in os.environ.get("ITEMEMB_RAW", ""):
        return event
    text = serialize_value(event)
    shown = without_secrets(text)
    return event if shown == text else deserialize_value(shown, EventLogEntry)


def _folder(base_dir: str) -> str:
    """Where the stock class has its databases; a home of before 2026-11-28 has them one above."""
    before = os.path.join(base_dir, "history")
    is_older = os.path.exists(os.path.join(before, f"{INDEX_SHARD_NAME}.db"))
    return before if is_older else os.path.join(before, "runs")


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SQLite event log under ``<base_dir>/history/runs``, written a batch at a time."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held: dict[str, Connection] | None = None
        self._latest: dict[tuple[AssetKey, str], tuple[Connection, EventLogEntry, int]] = {}
        self._tagged: list[tuple[EventLogEntry, int]] = []
        self._batch = ExitStack()
        self._engines: dict[tuple[int, str], Engine] = {}
        super().__init__(_folder(base_dir), inst_data)
        # A batch holds both databases open at once, so its thread must be able to enter again.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Build from ``dagster.yaml``."""
        return cls(inst_data=inst_data, base_dir=config_value["base_dir"])

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        held = self._held
        if held is None:
            with self._opened(shard) as conn:
                yield conn
            return
        if shard not in held:
            held[shard] = self._batch.enter_context(self._opened(shard))
        yield held[shard]

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Connection]:
        """A transaction on a database, which stays open after it."""
        if shard not in self._initialized_dbs:  # its tables are made, anew after a wipe
            self._close(shard)
            with super()._connect(shard) as conn:
                yield conn
            return
        with self._db_lock, self._engine(shard).begin() as conn:
            yield conn

    def _engine(self, shard: str) -> Engine:
        # A connection must not be used in a process that was forked from its own.
        key = os.getpid(), shard
        engine = self._engines.pop(key, None)
        if engine is None:
            url = self.conn_string_for_shard(shard)
            engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        self._engines[key] = engine
        if len(self._engines) > OPEN:
            self._close(next(iter(self._engines))[1])
        return engine

    def _close(self, *shards: str) -> None:
        with self._db_lock:
            for key in [key for key in self._engines if key[1] in shards]:
                self._engines.pop(key).dispose(close=key[0] == os.getpid())

    def dispose(self) -> None:
        """Close the databases."""
        self._close(*(shard for _process, shard in self._engines))
        super().dispose()

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        logged = event.dagster_event
        if self._held is None or logged is None or logged.asset_key is None:
            super()._store_asset_event(conn, event, event_id)
            return
        # Events of different kinds write different columns.
        at = logged.asset_key, logged.event_type_value
        self._latest.pop(at, None)
        self._latest[at] = conn, event, event_id

    def _store_asset_event_tags(
        self, conn: Connection, events: Sequence[EventLogEntry], event_ids: Sequence[int]
    ) -> None:
        if self._held is None:
            super()._store_asset_event_tags(conn, events, event_ids)
        else:
            self._tagged.extend(zip(events, event_ids, strict=True))

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, which shows no variable that raw's URL names."""
        super().store_event(_without_secrets(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events as ``store_event`` does, all in one transaction a database."""
        with self._db_lock, ExitStack() as batch:
            self._batch, self._held = batch, {}
            try:
                for event in events:
                    self.store_event(event)
                for latest in self._latest.values():
                    super()._store_asset_event(*latest)
                if self._tagged:
                    tagged, ids = zip(*self._tagged, strict=True)
                    super()._store_asset_event_tags(self._held[INDEX_SHARD_NAME], tagged, ids)
            finally:
                self._held, self._latest, self._tagged = None, {}, []
