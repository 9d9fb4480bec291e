"""A standalone Spark cluster on this machine: one master, two workers, a process each."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_S = 240
GRACE_S = 20
#: Small enough for two cores; several tasks a shuffle, so that rows do travel; workers lack Python.
DEFAULTS = """\
spark.executor.memory 512m
spark.driver.host 127.0.0.1
spark.sql.shuffle.partitions 3
spark.sql.adaptive.coalescePartitions.enabled false
spark.pyspark.python /no/python
"""


@cache
def home() -> Path:
    """Where pyspark lies; the fast tests are collected without it."""
    import pyspark

    return Path(pyspark.__file__).parent


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start a cluster and give the environment that points at it; stop it by process."""
    (folder / "spark-defaults.conf").write_text(DEFAULTS)
    env = {
        "SPARK_HOME": str(home()),
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_DAEMON_MEMORY": "256m",
    }
    port, ui = free_port(), free_port()
    master = f"spark://{HOST}:{port}"
    ports = ["--host", HOST, "--webui-port"]
    with ExitStack() as stack:
        start(stack, folder, env, ["master.Master", *ports, str(ui), "--port", str(port)])
        for k in range(2):
            size = ["--cores", "1", "--memory", "600m", "--work-dir", str(folder / f"work{k}")]
            start(stack, folder, env, ["worker.Worker", *ports, "0", *size, master])
        wait_for_workers(f"http://{HOST}:{ui}/json/", 2)
        yield {**env, "ITEMEMB_SPARK_MASTER": master}


def start(stack: ExitStack, folder: Path, env: dict[str, str], words: list[str]) -> None:
    """Run one of Spark's daemons until the stack closes."""
    command = [home() / "bin/spark-class", f"org.apache.spark.deploy.{words[0]}", *words[1:]]
    log = stack.enter_context((folder / "cluster.log").open("a"))
    process = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log)
    stack.callback(stop, process)


def stop(process: subprocess.Popen) -> None:
    """End a daemon; one whose shutdown hooks hang is killed."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for_workers(url: str, wanted: int) -> None:
    """Ask the master until so many workers have registered."""
    deadline = time.monotonic() + PATIENCE_S
    found = None
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.load(answer)["aliveworkers"]
        except (OSError, ValueError):
            found = None  # the master is not up yet, or its pages alone are
        if found == wanted:
            return
        time.sleep(0.2)
    raise TimeoutError(f"{url}: {found} workers after {PATIENCE_S} s, expected {wanted}")
