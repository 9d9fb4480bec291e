"""RecTools' SASRec and implicit's ALS on the same queries, in an environment of their own.

They want older NumPy and pandas than this project. The environment is made once; ``peers.py`` runs
in it, reads events and writes ranked lists as CSV, and imports nothing of this project.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from tests.bench.users.last_ten import by_user, rank_figures

#: The same torch as here, which is the small build for CPUs where that is what is served.
_ROOT: Final = Path(__file__).parents[3]
_PEERS: Final = Path(__file__).with_name("peers.py")


def environment(folder: Path) -> Path:
    """The Python of the environment, made where it is not there."""
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        constraints = (_ROOT / "constraints.txt").read_text().splitlines()
        torch = next(line for line in constraints if line.startswith("torch=="))
        install = [python, "-m", "pip", "install", "--quiet", "rectools[torch]", torch]
        subprocess.run(install, check=True)
        done.write_text("")
    return python


def peers(work: Path, rows: pd.DataFrame, held: "pd.Series[bool]", minutes: float) -> None:
    """Write ``sasrec.csv`` and ``als.csv`` into ``work``: user, query, item, rank from 1.

    Args:
        work: Folder of all files; that of the environment, ``rectools``, is beside it.
        rows: ``user``, ``item``, ``second``, by user and time.
        held: Which rows are queries.
        minutes: Of training for SASRec.
    """
    python = environment(work.parent / "rectools")
    query = rows[held].groupby("user").cumcount().reindex(rows.index).fillna(-1).astype(int)
    events = work / "events.csv"
    rows.assign(query=query).to_csv(events, index=False)
    subprocess.run([python, _PEERS, events, work, str(minutes)], check=True)


def peer_figures(work: Path, name: str, held: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Figures by user of one of the lists; queries for items that nobody saw are left out."""
    listed = pd.read_csv(work / f"{name}.csv")
    truth = held.assign(query=held.groupby("user").cumcount())
    truth = truth[truth["item"].isin(known)]
    found = truth.merge(listed, "left", ["user", "query", "item"])
    ranks = (found["rank"] - 1).fillna(np.inf).to_numpy()
    return by_user(found["user"].to_numpy(), rank_figures(ranks))
