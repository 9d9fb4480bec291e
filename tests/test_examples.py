"""The notebook under ``examples/``: it runs as it stands, without Dagster, and finds what it says.

Its code cells are executed in their order by a fresh Python, which needs no Jupyter.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples/without_dagster.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]

#: What must hold once all cells have run.
AFTER = """
import sys
assert not [name for name in sys.modules if name.split(".")[0] in ("dagster", "itememb_dagster")]
assert checked["receipts"].count().execute() == clean["receipts"].count().execute() + 2
assert scorer.reason is None, scorer.reason
assert learned.probability.between(scorer.acceptance.threshold, 1).all()
true = learned.receipt_item.map(product_of) == learned.catalog_item
assert len(learned) > PRODUCTS // 4 and true.mean() > 0.9, (len(learned), true.mean())
assert (first.item_id.map(product_of) == first.neighbor_id).mean() > 0.4
"""


def code_cells() -> list[str]:
    return ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_it_runs_without_dagster_and_links_what_is_the_same(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code_cells(), AFTER])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "opaque items linked" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_step_is_explained_and_stored_outputs_are_small():
    kinds = [cell["cell_type"] for cell in CELLS]
    assert kinds[0] == "markdown"
    assert all(before == "markdown" for before, kind in pairwise(kinds) if kind == "code")
    outputs = [cell["outputs"] for cell in CELLS if cell["cell_type"] == "code"]
    assert len(json.dumps(outputs)) < 8_000
    assert NOTEBOOK.stat().st_size < 30_000


@pytest.mark.parametrize("name", ["dagster", "itememb_dagster", "itememb_core."])
def test_it_uses_the_public_names_alone(name: str):
    imports = [line for cell in code_cells() for line in cell.splitlines() if "import " in line]
    assert not [line for line in imports if name in line]
