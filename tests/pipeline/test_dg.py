"""Dagster's own command over this project: what ``[tool.dg]`` says is right."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_dg_check_defs_passes():
    dg = Path(sys.executable).with_name("dg")
    done = subprocess.run(
        [dg, "check", "defs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr
