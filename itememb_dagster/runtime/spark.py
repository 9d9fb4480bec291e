"""The Spark session: how it starts and how it is configured. What does not belong here: queries."""

import logging
import os
import tempfile
import warnings
from typing import IO, Any, Final

import psutil

from itememb_core.errors import ItemembError

DEFAULT_MASTER: Final = "local[*]"

#: Everything else is Spark's own affair: ``spark-defaults.conf`` in ``SPARK_CONF_DIR``.
OPTIONS: Final = {
    "spark.app.name": "itememb",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    # Small tables go to Java as Arrow: no worker has to have a Python.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark has no nanoseconds: they come as integers, and the raw reader turns them into times.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # "2017-01" is a month, not a date.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # Looking at a year of day files takes the driver less than a job over the cluster.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",
}


def spark_session() -> Any:
    """Start the process's session at ``ITEMEMB_SPARK_MASTER``.

    Raises:
        ItemembError: If pyspark or Java is missing, or the master cannot be reached.
    """
    master = os.environ.get("ITEMEMB_SPARK_MASTER") or DEFAULT_MASTER
    # What Java says of a failed query is in the exception, too.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    try:
        from py4j.protocol import Py4JError
        from pyspark import SparkConf, SparkContext
        from pyspark.errors import PySparkException
        from pyspark.java_gateway import launch_gateway
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ItemembError(
            f"engine spark: {error.name} is not installed, expected itememb[spark]"
        ) from error
    launch: Any = launch_gateway
    conf = SparkConf().setMaster(master).setAll(list(_options(master).items()))
    # Java talks on stderr, where the progress bars are; what matters is raised here, too.
    with tempfile.TemporaryFile("w+") as log:
        try:
            gateway = launch(conf, {"stderr": log})
            return SparkSession(SparkContext(conf=conf, gateway=gateway))
        except (PySparkException, Py4JError) as error:
            raise ItemembError(f"engine spark: no session at {master} ({_why(log)})") from error


def _options(master: str) -> dict[str, str]:
    """Options for a master; one inside this process gets memory and stays on loopback."""
    if not master.startswith("local"):
        return OPTIONS
    half = psutil.virtual_memory().total // 2 // 2**20
    return {**OPTIONS, "spark.driver.memory": f"{half}m", "spark.driver.host": "127.0.0.1"}


def _why(log: IO[str]) -> str:
    """Return the last thing that Java said."""
    log.seek(0)
    lines = [line.strip() for line in log if line.strip() and not line.startswith("\tat ")]
    return lines[-1] if lines else "Java said nothing"
