import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from fieldlevel.numerics.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def use():
    return np.ones((6, 1 << 20), dtype=np.float64).sum()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
[use() for _ in range(20)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*arguments):
    told = subprocess.run([sys.executable, "-c", FAULTS, *arguments], check=True, capture_output=True, text=True)
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_that_is_kept_is_not_asked_for_again():
    assert page_faults("keep") < page_faults() / 5
