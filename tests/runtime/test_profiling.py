"""Memory of a run: children count, what is shared counts once."""

import mmap
import subprocess
import sys

from itememb_dagster.runtime.profiling import resident

MB = 10**6
CHILD = """
import mmap, sys
own = bytearray(b"1") * 40_000_000
with open(sys.argv[1], "rb") as file:
    shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(shared[at] for at in range(0, len(shared), 4096))
print("ready", flush=True)
sys.stdin.read()
"""


def test_children_count_and_what_they_share_counts_once(tmp_path):
    file = tmp_path / "shared"
    file.write_bytes(bytes(80 * MB))
    with file.open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    assert sum(shared[at] for at in range(0, len(shared), 4096)) == 0
    alone = resident()
    words = [sys.executable, "-c", CHILD, str(file)]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    both = resident()
    child.communicate("")
    # 40 of the child's own and what an interpreter takes; the 80 are in ``alone``.
    assert 35 * MB < both - alone < 75 * MB
