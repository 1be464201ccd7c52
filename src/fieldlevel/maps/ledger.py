"""The folder of work in progress: where simulations go as they finish, from any number of processes and machines.

`.<suite>_<set>.partial` holds the map files at their final size. Every shard writes its simulations straight to their
place, the record of its run, and then their numbers to a ledger of its own, `done-<i>-of-<n>.txt`, so nothing is merged
or copied, and what is done is the union of all ledgers, however they were sharded. Whoever finds that nothing is
missing renames the files into place, perhaps before the one who noted the last number goes on: a map file with its
final name is complete.

Only opening and closing take turns, by a lock on the output folder. A kill at any moment is continued by running again.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.files import make_folder, write_text
from fieldlevel.locks import locked
from fieldlevel.maps.cmd_format import PIXEL_DTYPE, Float32Array, SuiteFiles, read_header
from fieldlevel.maps.provenance import Run, is_recorded, record_maps
from fieldlevel.maps.shards import Shard

SuiteField = tuple[str, str]
"""Suite and field of a map file, e.g. `("MockTNG", "Mgas")`."""


@dataclass(frozen=True)
class Plan:
    """What a folder of maps is to hold; the same whenever the work is taken up.

    Attributes:
        keys: suite and field of every map file; the first suite gives the work its name.
        set_name: e.g. `"LH"`.
        parameters: a row of six for each simulation, or None if they are not known.
        n_simulations: how many there are.
        maps_each: maps of a simulation in one file.
        n_pixels: pixels a side.
        record: what the maps are made from and how: equal if and only if the maps are.
    """

    keys: tuple[SuiteField, ...]
    set_name: str
    parameters: tuple[tuple[float, ...], ...] | None
    n_simulations: int
    maps_each: int
    n_pixels: int
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the suite and set."""
        return f"{self.keys[0][0]}_{self.set_name}"

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the record."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()[:12]


class Ledger:
    """What is done and what is missing of a plan in an output folder.

    Attributes:
        plan: what is to be made.
        directory: where the finished files go.
        partial: the folder of work in progress.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.partial = directory / f".{plan.name}.partial"

    def missing(self) -> list[int]:
        """Numbers of the simulations that no shard has finished.

        Raises:
            UserError: the folder holds a finished suite of another spec, or is a file.
        """
        make_folder(self.directory)
        with self._turn():
            return self._missing()

    @contextmanager
    def claim(self, shard: Shard) -> Iterator[list[int]]:
        """Keep other processes from a shard; a claim ends with its process, however that dies.

        Args:
            shard: the part of the simulations to work on.

        Yields:
            Numbers of the missing simulations of this shard; none if the folder holds the finished suite.

        Raises:
            UserError: finished or unfinished work of another spec, or files from elsewhere, lie there, another process
                works on this shard or on one of another count, or the folder is a file.
        """
        make_folder(self.directory)
        with ExitStack() as held:
            with self._turn():
                if self._is_complete():
                    self._remove()
                else:
                    self._open()
                    held.enter_context(self._lock(shard))
                    _drop_torn_line(self._done_path(shard))
                missing = self._missing()
            mine = shard.of(self.plan.n_simulations)
            yield [number for number in missing if number in mine]

    def write(self, number: int, maps: Mapping[SuiteField, Float32Array]) -> None:
        """Store the maps of one simulation of the claimed part.

        Args:
            number: of the simulation in its set.
            maps: (maps_each, n_pixels, n_pixels) for each key of the plan.
        """
        for key in self.plan.keys:
            _write_block(self._maps_path(self.partial, key), number, maps[key])

    def record(self, run: Run) -> None:
        """Write down what a process has done since it started; again with every simulation, as it may be killed."""
        stamp = "".join(character for character in run.started if character.isalnum())
        write_text(self.partial / f"run-{run.shard.replace('/', '-of-')}-{stamp}.json", json.dumps(asdict(run)))

    def note(self, shard: Shard, number: int) -> None:
        """Count a simulation, written and recorded, as done; after the last one another process may close the work."""
        with self._done_path(shard).open("a") as file:
            file.write(f"{number}\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def discarded_if_empty(self) -> Iterator[None]:
        """Take the folder of work in progress away if an error ends the work before anything is done."""
        try:
            yield
        except Exception:
            with self._turn():
                at_work = len(list(self.partial.glob("shard-*.lock")))
                if at_work <= 1 and len(self._missing()) == self.plan.n_simulations:
                    self._remove()
            raise

    def close(self) -> None:
        """Rename the files into place if nothing is missing; a kill in between is continued by the next run."""
        with self._turn():
            if self._is_complete() or self._missing():
                return
            for key in self.plan.keys:
                path = self._maps_path(self.partial, key)
                if path.exists():
                    path.replace(self._maps_path(self.directory, key))
            self._write_tables()
            runs = (json.loads(path.read_text()) for path in self.partial.glob("run-*.json"))
            record = {**self.plan.record, "digest": self.plan.digest}
            record_maps(self.directory, self.plan.name, record, sorted(runs, key=lambda run: str(run["started"])))
            self._remove()

    def _write_tables(self) -> None:
        if self.plan.parameters is None:
            return
        table = "".join(f"{' '.join(map(_column, row))}\n" for row in self.plan.parameters)
        for suite in dict.fromkeys(suite for suite, _ in self.plan.keys):
            write_text(SuiteFiles(self.directory, suite, set_name=self.plan.set_name).own_parameters_path, table)

    def _turn(self) -> AbstractContextManager[bool]:
        return locked(self.directory / ".simulate.lock", wait=True)

    def _maps_path(self, folder: Path, key: SuiteField) -> Path:
        return SuiteFiles(folder, *key, self.plan.set_name).maps_path

    def _done_path(self, shard: Shard) -> Path:
        return self.partial / f"done-{shard.number}-of-{shard.count}.txt"

    def _is_complete(self) -> bool:
        files = (self._maps_path(self.directory, key) for key in self.plan.keys)
        return is_recorded(self.directory, self.plan.name, self.plan.digest) and all(path.exists() for path in files)

    def _missing(self) -> list[int]:
        if self._is_complete():
            return []
        done = {number for path in self.partial.glob("done-*.txt") for number in _read_numbers(path)}
        return [number for number in range(self.plan.n_simulations) if number not in done]

    def _open(self) -> None:
        """Create the files, or take up those of another process or a killed one with the same spec."""
        recorded = self.partial / "plan.json"
        described = json.dumps(self.plan.record, sort_keys=True, indent=2) + "\n"
        if recorded.exists():
            if recorded.read_text() != described:
                raise UserError(
                    f"{self.partial}: unfinished simulations of another spec; remove it or choose another directory"
                )
            return
        self._refuse_others()
        self.partial.mkdir(exist_ok=True)
        for key in self.plan.keys:
            _create_maps(self._maps_path(self.partial, key), self.plan)
        write_text(recorded, described)

    def _refuse_others(self) -> None:
        """Leave files alone that were not made here."""
        if is_recorded(self.directory, self.plan.name, self.plan.digest):
            return
        files = [SuiteFiles(self.directory, *key, self.plan.set_name) for key in self.plan.keys]
        tables = [each.parameters_path for each in files] if self.plan.parameters is not None else []
        for path in (*(each.maps_path for each in files), *tables):
            if path.exists():
                raise UserError(f"{path}: is there already and was not made here; choose another directory")

    @contextmanager
    def _lock(self, shard: Shard) -> Iterator[None]:
        """Hold a shard; another division of the same simulations must not be at work, or both would do the same."""
        for path in self.partial.glob("shard-*.lock"):
            if not path.stem.endswith(f"-of-{shard.count}"):
                with locked(path) as is_idle:
                    if not is_idle:
                        raise UserError(f"{self.partial}: shards of another count are at work; wait, or take theirs")
        with locked(self.partial / f"shard-{shard.number}-of-{shard.count}.lock") as is_ours:
            if not is_ours:
                raise UserError(f"{self.partial}: another process works on shard {shard}; wait for it or take another")
            yield

    def _remove(self) -> None:
        """Take the folder away; what another process still holds open there goes with the next run."""
        rmtree(self.partial, ignore_errors=True)


def _create_maps(path: Path, plan: Plan) -> None:
    """A map file of the final size, without blocks on disk where the file system allows it."""
    shape = (plan.n_simulations * plan.maps_each, plan.n_pixels, plan.n_pixels)
    with path.open("wb") as file:
        header = {"descr": PIXEL_DTYPE.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * PIXEL_DTYPE.itemsize)


def _write_block(path: Path, number: int, maps: Float32Array) -> None:
    """Put the maps of a simulation in their place and wait until they are on disk."""
    header = read_header(path)
    block = np.ascontiguousarray(maps, PIXEL_DTYPE).reshape(-1, *header.shape[1:])
    with path.open("r+b") as file:
        file.seek(header.offset + number * block.nbytes)
        file.write(block.data)
        file.flush()
        os.fsync(file.fileno())


def _read_numbers(path: Path) -> set[int]:
    """Numbers in a ledger; a last line without its end was torn by a kill and does not count."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return {int(line) for line in whole.split(b"\n") if line.isdigit()}


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _column(value: float) -> str:
    """Five decimals as in the CAMELS tables; all digits where five are not enough."""
    text = f"{value:.5f}"
    return text if float(text) == value else repr(value)
