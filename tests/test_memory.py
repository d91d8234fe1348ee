"""glibc's policy, seen from outside: freed blocks stay, or go back to the kernel."""

import os
import platform
import subprocess
import sys

import pytest

from tests.imports import ROOT

# Allocates and frees blocks as large as the temporaries of a few clips; counted is
# the number of page faults.
SCRIPT = """
import resource, sys
from advance_tf.memory import keep_freed_memory
print(keep_freed_memory())
import numpy as np
for step in range(60):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(40_000_000, step % 250, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment) -> tuple[str, int]:
    """Whether the policy was set, and the page faults of 50 blocks."""
    # NumPy's own advice of huge pages would hide the faults.
    environment = {"NUMPY_MADVISE_HUGEPAGE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    policy, count = done.stdout.split()
    return policy, int(count)


@pytest.mark.parametrize("setting", ["1", "0"])
def test_freed_blocks_stay_unless_the_setting_says_no(setting):
    policy, count = faults(ADVANCE_TF_KEEP_MEMORY=setting)
    if platform.libc_ver()[0] != "glibc":
        assert policy == "False"
        return
    assert policy == str(setting == "1")
    # 50 blocks of 40 MB are 488,000 pages of 4 kB; glibc maps blocks over 32 MB.
    if setting == "1":
        assert count < 10_000
    else:
        assert count > 400_000
