"""What `torchrun` tells the processes that it starts; knows it without PyTorch."""

import os

from fieldlevel.errors import UserError

_TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_REMEDY = "start it by torchrun, which sets them all, or unset"


def n_processes() -> int:
    """Processes that were started together with this one, itself counted; 1 without torchrun.

    Raises:
        UserError: what was told is no number.
    """
    return _number("WORLD_SIZE", 1, least=1) if os.environ.keys() >= set(_TOLD) else 1


def rank() -> int:
    """Number of this process among all of them; 0 without torchrun."""
    return _number("RANK", 0)


def local_rank() -> int:
    """Number of this process among those of its machine; 0 without torchrun."""
    return _number("LOCAL_RANK", 0)


def check() -> None:
    """Refuse to train in processes that were told that they are several but not how to meet, as by `srun` alone.

    Raises:
        UserError: with what is missing or cannot be.
    """
    given = [name for name in _TOLD if name in os.environ]
    if not given:
        return
    n, own = _number("WORLD_SIZE", 1, least=1), rank()
    local_rank()
    lacking = [name for name in _TOLD + _MEETING if not os.environ.get(name)]
    is_alone = "WORLD_SIZE" in given and n == 1
    if lacking and not is_alone:
        listed = ", ".join(given)
        raise UserError(f"{listed} without {', '.join(lacking)}: the processes cannot meet; {_REMEDY} {listed}")
    if own >= n:
        raise UserError(f"RANK = {own}, WORLD_SIZE = {n}: ranks go from 0 to {n - 1}; {_REMEDY} {', '.join(given)}")
    if not is_alone:
        _number("MASTER_PORT", 0, least=1, most=2**16 - 1)


def _number(name: str, usual: int, least: int = 0, most: int = 2**31 - 1) -> int:
    given = os.environ.get(name)
    if given is None:
        return usual
    if not (given.isascii() and given.isdecimal() and len(given) <= 10 and least <= int(given) <= most):
        raise UserError(f"{name} = {given!r}: a number from {least} is expected; {_REMEDY} {name}")
    return int(given)
