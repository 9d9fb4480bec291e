"""Fits that kill themselves: ``python -m tests.worlds.crash_fit FOLDER STEP …``.

For each step a child process is killed as it begins that step, and another one goes on from its
checkpoint; prints the bytes' digest of each finished fit, the first of one that nothing killed.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.items.training.fit import Trainer, fit
from tests.worlds.two_channels import SETTINGS, WORLD, digest


def run_child(path: Path, kill_at: int) -> None:
    """Fit with a checkpoint at each interval, print the digest."""
    count, step = 0, Trainer.step

    def counted(trainer: Trainer, rate: float) -> Any:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer, rate)

    Trainer.step = counted  # type: ignore[method-assign]
    # The package exports the function by the module's name.
    import_module("itememb_core.items.training.fit").INTERVAL = 20  # type: ignore[attr-defined]
    print(digest(fit(WORLD, SETTINGS, seed=3, checkpoint=Checkpoint(path, "one", 0))), flush=True)


def in_child(path: Path, kill_at: int) -> int:
    """Fork before any thread is there; return how the child ended."""
    child = os.fork()
    if child == 0:
        run_child(path, kill_at)
        os._exit(0)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    assert in_child(folder / "whole", 0) == 0
    for word in sys.argv[2:]:
        assert in_child(folder / word, int(word)) == signal.SIGKILL
        assert (folder / word).exists() == (int(word) > 20)
        assert in_child(folder / word, 0) == 0
