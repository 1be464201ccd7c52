"""Digests of whole files, remembered as long as a file is what it was.

What a file is known by: path, device, inode, size, time of change of its content and of anything. The last of these
cannot be set by hand, so a file that was altered and given its old time again is read again. Digests are remembered in
the process, those of large files for later processes too, in the user's cache folder; where that cannot be written, or
holds something else, a file is read again.
"""

import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldlevel.errors import UserError
from fieldlevel.files import make_folder
from fieldlevel.json_files import read_json_object, write_json

_VERSION = 1
_LARGE = 2**26
"""Bytes of a file whose digest is worth a record."""
_TICK_NS, _SECOND_NS = 20_000_000, 1_000_000_000
"""Of the clocks of file systems: a file that was altered so lately may be again, without another time."""


@dataclass(frozen=True)
class Stamp:
    """What a file is known by.

    Attributes:
        path: absolute.
        device: of the file system.
        inode: of the file.
        size: in bytes.
        changed_ns: time of change of the content.
        altered_ns: time of change of content, name or rights, which nobody can set.
        taken_ns: when all this was looked up.
    """

    path: Path
    device: int
    inode: int
    size: int
    changed_ns: int
    altered_ns: int
    taken_ns: int = field(compare=False)

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Of a file as it is now; waits for the next tick of the clock where it was altered in this one.

        Raises:
            OSError: there is no such file.
        """
        age = time.time_ns() - path.stat().st_ctime_ns
        if 0 <= age < _TICK_NS:
            time.sleep((_TICK_NS - age) / _SECOND_NS)
        now, status = time.time_ns(), path.stat()
        times = status.st_mtime_ns, status.st_ctime_ns
        return cls(path.absolute(), status.st_dev, status.st_ino, status.st_size, *times, now)

    @property
    def is_settled(self) -> bool:
        """Whether a change after the look-up shows in the times; some file systems count whole seconds."""
        tick = _TICK_NS if self.altered_ns % _SECOND_NS else 2 * _SECOND_NS
        return self.taken_ns - self.altered_ns >= tick

    def as_json(self) -> list[Any]:
        """Everything that two equal stamps share."""
        return [os.fsencode(self.path).hex(), self.device, self.inode, self.size, self.changed_ns, self.altered_ns]


_known: dict[Stamp, str] = {}


def recall(stamp: Stamp) -> str | None:
    """The digest of a file that was read before and is what it was; None otherwise."""
    if stamp not in _known and stamp.size >= _LARGE and (path := _record_path(stamp)) is not None:
        with suppress(UserError):
            record = read_json_object(path)
            digest = record.get("digest")
            if record.get("stamp") == stamp.as_json() and re.fullmatch("[0-9a-f]{64}", str(digest)):
                _known[stamp] = str(digest)
    return _known.get(stamp)


def remember(stamp: Stamp, digest: str) -> None:
    """Remember the digest of a file, if a change of it would be noticed.

    Args:
        stamp: taken before the file was read.
        digest: of all of it, 64 hexadecimal digits.
    """
    with suppress(OSError):
        if not stamp.is_settled or Stamp.of(stamp.path) != stamp:
            return
        _known[stamp] = digest
        if stamp.size >= _LARGE and (path := _record_path(stamp)) is not None:
            with suppress(UserError):
                make_folder(path.parent)
                write_json(path, {"stamp": stamp.as_json(), "digest": digest})


def _record_path(stamp: Stamp) -> Path | None:
    """Where a digest is kept for later processes; None for somebody without a cache folder."""
    given, usual = (os.path.expanduser(name) for name in (os.environ.get("XDG_CACHE_HOME", ""), "~/.cache"))  # noqa: PTH111 (without a home it stays as it is)
    folder = next((name for name in (given, usual) if os.path.isabs(name)), None)  # noqa: PTH117
    name = hashlib.sha256(os.fsencode(stamp.path)).hexdigest()[:32]
    return None if folder is None else Path(folder) / "fieldlevel" / f"digests-{_VERSION}" / f"{name}.json"
