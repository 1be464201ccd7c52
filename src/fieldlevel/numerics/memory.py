"""What fits into the memory of this machine: asked before it is allocated."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from fieldlevel.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""
_KEPT_BYTES = 1 << 30
_LIMIT_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def physical_memory() -> int:
    """Bytes of memory of this machine, or of its container.

    Example:
        >>> physical_memory() > 2**28
        True
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit
        return min(machine, int(_LIMIT_OF_CONTAINER.read_text()))
    return machine


def check_fits(n_bytes: int, what: str, remedy: str) -> None:
    """Refuse what no memory of this machine can hold.

    Args:
        n_bytes: that are needed at least.
        what: needs them.
        remedy: what to do.

    Raises:
        UserError: they are more than the machine has.
    """
    if n_bytes > (there := physical_memory()):
        told = f"need at least {n_bytes / 1e9:.3g} GB of memory, this machine has {there / 1e9:.3g} GB"
        raise UserError(f"{what} {told}; {remedy}")


def keep_freed_memory() -> None:
    """Let this process keep what it frees for the next arrays, where its allocator is glibc's.

    Otherwise each large array is given back and asked for again page by page, some 5% of a simulation on a CPU. Of use
    to a process that makes arrays of the same sizes again and again, and ends.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(option, _KEPT_BYTES)
