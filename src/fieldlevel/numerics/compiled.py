"""Loops compiled by Numba, and kept on disk where that can be.

A package folder that is read only, a home that is not there, a full disk or a damaged file of the cache cost the
seconds of compiling, nothing else. Each file of the cache ends with a digest of what stands before it, as Numba would
run whatever it reads.
"""

import pickle
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

Function = TypeVar("Function", bound=Callable[..., Any])

_DIGEST_BYTES = 16


def compiled(function: Function) -> Function:
    """Compile a function of numbers and arrays when it is first called; it runs beside other threads.

    Args:
        function: what Numba's nopython mode takes.
    """
    dispatcher: Any = numba.njit(nogil=True)(function)
    with suppress(RuntimeError, OSError):  # no folder where it could be kept
        dispatcher._cache = _Cache(function)
    compiled_function: Function = dispatcher
    return compiled_function


class _Cache(FunctionCache):
    """What was compiled before, as far as it can be read and written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        file = self._cache_file
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, file._source_stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


class _CheckedFile(IndexDataCacheFile):
    """Files of one function; what does not end with its digest is as if it were not there."""

    def _dump(self, obj: Any) -> bytes:
        content: bytes = super()._dump(obj)
        return content + _digest(content)

    def _load_index(self) -> dict[Any, str]:
        version = pickle.dumps(self._version, protocol=-1)
        content = _read(self._index_path)
        if not (content.startswith(version) and _is_whole(content[len(version) :])):
            return {}
        index: dict[Any, str] = super()._load_index()
        return index

    def _load_data(self, name: str) -> Any:
        if not _is_whole(_read(self._data_path(name))):
            raise FileNotFoundError(name)
        return super()._load_data(name)


def _read(path: str) -> bytes:
    with suppress(OSError):
        return Path(path).read_bytes()
    return b""


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _is_whole(content: bytes) -> bool:
    return content[-_DIGEST_BYTES:] == _digest(content[:-_DIGEST_BYTES])
