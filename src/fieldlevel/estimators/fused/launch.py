"""Kernels: launched, or compiled side by side before they are needed.

Triton compiles a kernel when it is first launched, one after the other, for a second or two each. Which ones a pass
over the network takes follows from the shape of the maps, so a pass that launches none of them finds them all.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import triton

_IS_REHEARSAL: ContextVar[bool] = ContextVar("is_rehearsal", default=False)


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **known: Any) -> None:
    """Run a kernel of Triton, `kernel[grid](*arguments, **known)`; in a rehearsal it is compiled and writes nothing."""
    if _IS_REHEARSAL.get():
        kernel.warmup(*arguments, grid=grid, **known)
    else:
        kernel[grid](*arguments, **known)


@contextmanager
def rehearsal() -> Iterator[None]:
    """Compile what this thread would launch, in threads: the compiler lets others run. It is done when this ends."""
    token = _IS_REHEARSAL.set(True)
    try:
        with ThreadPoolExecutor() as threads, triton.AsyncCompileMode(threads):
            yield
    finally:
        _IS_REHEARSAL.reset(token)
