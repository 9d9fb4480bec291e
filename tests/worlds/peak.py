"""The memory that some work takes beyond what its process held before, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

#: Linux alone says what a process took at most since it began, whatever started it: the figure of
#: ``getrusage`` goes on from the process that it was forked from.
STATUS = Path("/proc/self/status")

FRAME = """
def kib(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1])
{before}
held = kib("VmRSS")
{work}
import json
print(json.dumps((kib("VmHWM") - held) / 1024))
"""


def peak_mib(before: str, work: str) -> float:
    """MiB at most that the statements ``work`` take, after the statements ``before``."""
    code = FRAME.format(before=before, work=work)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout.splitlines()[-1]))
