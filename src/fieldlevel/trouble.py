"""Trouble that is not the package's: a full disk or memory, a file that may not be read, told in a line."""

import errno
import os
import sys
from collections.abc import Sequence

_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or take another file system",
    errno.EROFS: "name another folder",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "end other processes that hold files open",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EIO: "see whether the disk is sound",
}
"""Of errors of the operating system that the user can mend; after most the same command continues."""


_UNTOLD = "unspecified launch failure"
"""Of a GPU that names no address and no line; others point at a defect, perhaps of code of one's own."""


def of_system(error: OSError, command: Sequence[str]) -> str:
    """What to say of an error of the operating system: the file or the command, what is wrong, what to do.

    Args:
        error: that nobody expected.
        command: words that name the command.
    """
    what = error.filename or " ".join(command) or "fieldlevel"
    where = os.fsdecode(what) if isinstance(what, str | bytes | os.PathLike) else str(what)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{where}: {error.strerror or error}" + (f"; {remedy}, the same command continues" if remedy else "")


def of_device(error: RuntimeError | MemoryError) -> str | None:
    """What to say where the memory was full or a GPU gave up, None of other errors."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.AcceleratorError) and _UNTOLD in str(error):
        told = str(error).partition("\n")[0].rstrip(".")
        return f"{told}: the GPU gave up; end other work on it, the same command continues"
    return of_memory(error)


def of_memory(error: RuntimeError | MemoryError) -> str | None:
    """What to say where a device or the memory of the CPU was full, None of other errors."""
    torch = sys.modules.get("torch")  # which whoever fills a device has imported
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        needed = str(error).partition(" GPU ")[0].strip().rstrip(".")
        return f"{needed}: free the GPU of other work, or lower batch_size; the same command continues"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        needed = str(error).rpartition("you tried to allocate ")[2].partition(" bytes")[0]
        amount = f" for {int(needed) / 1e9:.3g} GB" if needed.isdecimal() else ""
        return f"not enough memory{amount}: ask for smaller sizes, or give the machine more"
    return None
