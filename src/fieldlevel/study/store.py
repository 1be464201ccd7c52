"""Run folders: work happens under a hidden name, and a folder with its final name is complete.

A run is known by the digest of its spec and of its data. Asking for a run that is complete returns its folder at once;
asking for one that was killed continues it; experiments that share a network share its folder without saying so.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldlevel.errors import UserError
from fieldlevel.files import make_folder, sync


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

    def known(self, name: str, keys: Sequence[str]) -> str:
        """The first of the keys of a run of which there is one, complete or begun; the first if there is none."""
        places = ((key, path) for key in keys for path in (self.folder(name, key), self._partial(name, key)))
        return next((key for key, path in places if os.path.lexists(path)), keys[0])

    def _partial(self, name: str, key: str) -> Path:
        return self.root / f".{name}-{key}.partial"

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
        if os.path.lexists(final):
            _refuse_other_than_folder(final)
            return final
        partial = self._partial(name, key)
        _refuse_other_than_folder(partial)
        make_folder(partial)
        work(partial)
        for path in (*partial.rglob("*"), partial):
            if not path.is_symlink() and (path.is_file() or path.is_dir()):
                sync(path)
        partial.rename(final)
        sync(self.root)
        return final


def _refuse_other_than_folder(path: Path) -> None:
    """Refuse a link, which would lead work elsewhere, or a file in the place of a run's folder."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path}: is no folder of a run; take it away, and the same command makes one")
