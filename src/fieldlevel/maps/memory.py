"""What fits into memory: asked before it is allocated."""

import os
from functools import cache

from fieldlevel.errors import UserError


@cache
def physical_memory() -> int:
    """Bytes of memory of this machine.

    Example:
        >>> physical_memory() > 2**28
        True
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_fits(n_bytes: int, what: str, remedy: str) -> None:
    """Refuse what no memory of this machine can hold.

    Args:
        n_bytes: that are needed at least.
        what: needs them.
        remedy: what to do.

    Raises:
        UserError: they are more than the machine has.
    """
    if n_bytes > physical_memory():
        needed, held = (f"{number / 2**30:.3g} GiB" for number in (n_bytes, physical_memory()))
        raise UserError(f"{what} need {needed} of memory, and this machine has {held}; {remedy}")
