"""Run folders: work happens under a hidden name, and a folder with its final name is complete.

A run is known by the digest of its spec and of its data. Asking for a run that is complete returns its folder at once;
asking for one that was killed continues it; experiments that share a network share its folder without saying so.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Store:
    """The runs of one output folder.

    Attributes:
        root: where the run folders lie.
    """

    root: Path

    def folder(self, name: str, key: str) -> Path:
        """Folder of a complete run."""
        return self.root / f"{name}-{key}"

    def ensure(self, name: str, key: str, work: Callable[[Path], object]) -> Path:
        """Do the work of a run unless it is complete.

        Args:
            name: what the run is, for people.
            key: digest of spec and data.
            work: fills the folder that it is given; called again on the same folder after an interruption.

        Returns:
            The complete folder.
        """
        final = self.folder(name, key)
        if final.exists():
            return final
        partial = self.root / f".{name}-{key}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        work(partial)
        for path in (*partial.rglob("*"), partial):
            _flush(path)
        partial.rename(final)
        _flush(self.root)
        return final


def _flush(path: Path) -> None:
    """Have a file or folder on the disk: else a power failure could leave a folder with its final name and no bytes."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
