"""Run in the environment of ``other_packages.py``: ``python peers.py EVENTS FOLDER MINUTES``.

Trains on the rows of EVENTS (user, item, second, query) whose query is -1 and writes, for each
query, the best 100 unseen items given the rows before it.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

QUERIES, LISTED, SEED = 10, 100, 0


def sasrec(rows: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """RecTools' SASRec with its own loss and sizes of its paper, as long as there is time."""
    import pytorch_lightning as lightning
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    def trainer() -> lightning.Trainer:
        from datetime import timedelta

        return lightning.Trainer(
            max_epochs=100, max_time=timedelta(minutes=minutes), accelerator="cpu", devices=1,
            deterministic=True, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    lightning.seed_everything(SEED)
    named = rows.rename(columns={"user": "user_id", "item": "item_id"}).assign(weight=1.0)
    named["datetime"] = pd.to_datetime(named["second"], unit="s")
    # Ties of a second stay in their order.
    named["datetime"] += pd.to_timedelta(named.groupby("user_id").cumcount(), unit="us")
    columns = ["user_id", "item_id", "weight", "datetime"]
    model = SASRecModel(
        n_factors=64, n_blocks=2, n_heads=2, dropout_rate=0.2, session_max_len=200,
        loss="softmax", batch_size=128, lr=1e-3, get_trainer_func=trainer,
    )  # fmt: skip
    model.fit(Dataset.construct(named.loc[named["query"] < 0, columns]))
    parts = []
    for query in range(QUERIES):
        seen = Dataset.construct(named.loc[named["query"] < query, columns])
        users = named.loc[named["query"] == query, "user_id"].unique()
        found = model.recommend(users, seen, k=LISTED, filter_viewed=True)
        parts.append(found.assign(query=query))
    found = pd.concat(parts).rename(columns={"user_id": "user", "item_id": "item"})
    return found[["user", "query", "item", "rank"]]


def als(rows: pd.DataFrame) -> pd.DataFrame:
    """implicit's ALS with its own settings, users folded in from the rows before a query."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    users, user = np.unique(rows["user"], return_inverse=True)
    items = np.unique(rows.loc[rows["query"] < 0, "item"])
    place = {name: number for number, name in enumerate(items)}
    known = rows["item"].isin(place)
    column = rows["item"].map(place).fillna(0).astype(int).to_numpy()

    def matrix(before: int) -> csr_matrix:
        kept = (known & (rows["query"] < before)).to_numpy()
        ones = np.ones(int(kept.sum()), np.float32)
        return csr_matrix((ones, (user[kept], column[kept])), (len(users), len(items)))

    model = AlternatingLeastSquares(factors=64, random_state=SEED, num_threads=1)
    model.fit(matrix(0), show_progress=False)
    parts = []
    for query in range(QUERIES):
        some = np.unique(user[(rows["query"] == query).to_numpy()])
        found, _ = model.recommend(
            some, matrix(query)[some], N=LISTED, filter_already_liked_items=True,
            recalculate_user=True,
        )  # fmt: skip
        n, rank = found.shape[1], np.arange(1, found.shape[1] + 1)
        columns = {"user": np.repeat(users[some], n), "query": query,
                   "item": items[found.ravel()], "rank": np.tile(rank, len(some))}  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts)


def main(arguments: list[str]) -> None:
    """Write both lists."""
    rows, folder = pd.read_csv(arguments[0]), Path(arguments[1])
    for name, lists in (
        ("als", lambda: als(rows)),
        ("sasrec", lambda: sasrec(rows, float(arguments[2]))),
    ):
        begun = time.monotonic()
        lists().to_csv(folder / f"{name}.csv", index=False)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
