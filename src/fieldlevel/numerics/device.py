"""Which device to compute on, and how exactly."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import torch

from fieldlevel.errors import UserError
from fieldlevel.numerics.memory import physical_memory

_MOST_DIGITS = 9
_are_elsewhere: ContextVar[bool] = ContextVar("are_elsewhere", default=False)


@contextmanager
def devices_elsewhere() -> Iterator[None]:
    """Context in which devices are those of workers; where this machine lacks one, its CPU does the work that stays."""
    token = _are_elsewhere.set(True)
    try:
        yield
    finally:
        _are_elsewhere.reset(token)


def select_device(name: str) -> torch.device:
    """Device by name; `"auto"` is the first CUDA device if there is one, else the CPU.

    Raises:
        UserError: unknown device, or CUDA where there is none (but for `devices_elsewhere`).
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match = re.fullmatch(r"(cpu|cuda)(?::([0-9]+))?", name)
    if match is None or name.startswith("cpu:"):
        raise UserError(f"device {name!r}: unknown; allowed: auto, cpu, cuda, cuda:<n>")
    if name == "cpu":
        return torch.device(name)
    if (told := _why_not_here(match[2])) is None:
        return torch.device(name)
    if _are_elsewhere.get():
        return torch.device("cpu")
    raise UserError(f"device {name!r}: {told}")


def _why_not_here(number: str | None) -> str | None:
    """Why there is no CUDA device of a number, or none at all, on this machine."""
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device here; use auto or cpu"
    count = torch.cuda.device_count()
    if number is not None and (len(number) > _MOST_DIGITS or int(number) >= count):
        return f"there are {count} CUDA devices here, from cuda:0 to cuda:{count - 1}"
    return None


def memory_of(device: torch.device) -> int:
    """Bytes of memory of a device, whoever uses them now.

    Example:
        >>> memory_of(torch.device("cpu")) == physical_memory()
        True
    """
    if device.type == "cpu":
        return physical_memory()
    total: int = torch.cuda.get_device_properties(device).total_memory
    return total


def exact_float32(*, benchmark: bool = False) -> AbstractContextManager[None]:
    """Context in which float32 convolutions compute in float32.

    Left alone, cuDNN rounds their inputs to the 10 bits of TF32.

    Args:
        benchmark: whether cuDNN measures which algorithm is fastest; else it picks one that adds up in a fixed order.
    """
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=True, benchmark=benchmark, deterministic=not benchmark, allow_tf32=False)
