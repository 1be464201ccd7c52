"""The folder of work in progress: where simulations go as they finish, from any number of processes and machines.

`.<suite>_<set>.partial` holds the map files at their final size. Every shard writes its simulations straight to their
place, the record of its run, and then their numbers to a ledger of its own, `done-<i>-of-<n>.txt`, so nothing is merged
or copied, and what is done is the union of all ledgers, however they were sharded. Whoever finds that nothing is
missing renames the files into place, perhaps before the one who noted the last number goes on: a map file with its
final name is complete.

Only opening and closing take turns, by a lock on the output folder. A kill at any moment is continued by running again,
and so is a power failure: what a ledger counts was on the disk before. Files in progress are opened so that no link is
followed; a folder in progress that is damaged, or not of our making, is named and left for its owner to remove.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import write_layout
from fieldlevel.data.map_records import FILES
from fieldlevel.data.npy_files import Float32Array
from fieldlevel.data.soundness import digest_of_maps
from fieldlevel.errors import UserError
from fieldlevel.files import make_folder, naming, open_own, read_bytes, read_text, sync, write_text
from fieldlevel.json_files import read_json_object, write_json
from fieldlevel.locks import locked
from fieldlevel.mapmaking.blocks import block_bytes, create_maps, npy_header, read_start, write_block
from fieldlevel.mapmaking.contents import Plan, SuiteField
from fieldlevel.mapmaking.provenance import Run, is_recorded, record_maps
from fieldlevel.mapmaking.shards import Shard

_MOST_DIGITS = 9
"""Of a number of a simulation."""


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
        self._refuse_link()
        with self._turn():
            return self._missing()

    def is_finished(self) -> bool:
        """Whether the folder holds all the maps under their names.

        Raises:
            UserError: it holds those of another spec.
        """
        return self._is_complete()

    @contextmanager
    def claim(self, shard: Shard) -> Iterator[list[int]]:
        """Keep other processes from a shard; a claim ends with its process, however that dies.

        Args:
            shard: the part of the simulations to work on.

        Yields:
            Numbers of the missing simulations of this shard; none if the folder holds the finished suite.

        Raises:
            UserError: finished or unfinished work of another spec, or files from elsewhere, lie there, the unfinished
                work is damaged, another process works on this shard or on one of another count, or it is a file.
        """
        make_folder(self.directory)
        self._refuse_link()
        with ExitStack() as held:
            with self._turn():
                if self._is_complete():
                    self._write_tables()
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
            write_block(self._maps_path(self.partial, key), self.plan, number, maps[key])

    def record(self, run: Run) -> None:
        """Write down what a process has done since it started; again with every simulation, as it may be killed."""
        stamp = "".join(character for character in run.started if character.isalnum())
        write_json(self.partial / f"run-{run.shard.replace('/', '-of-')}-{stamp}.json", asdict(run))

    def note(self, shard: Shard, number: int) -> None:
        """Count a simulation, written and recorded, as done; after the last one another process may close the work."""
        path = self._done_path(shard)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with naming(path), os.fdopen(open_own(path, flags), "a") as file:
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
            sync(self.directory)
            self._write_tables()
            self._write_layout()
            remedy = "take it away, and the same command continues"
            runs = [read_json_object(path, remedy) for path in self.partial.glob("run-*.json")]
            record = {**self.plan.record, "digest": self.plan.digest, FILES: self._digests()}
            record_maps(self.directory, self.plan.name, record, sorted(runs, key=lambda run: str(run.get("started"))))
            self._remove()

    def _digests(self) -> dict[str, str]:
        """Of all pixels of every finished map file, by its name."""
        paths = [self._maps_path(self.directory, key) for key in self.plan.keys]
        return {path.name: digest_of_maps(path) for path in paths}

    def _write_tables(self) -> None:
        """Write the parameters, but for a table that is there already."""
        if self.plan.parameters is None:
            return
        path = SuiteFiles(self.directory, self.plan.suite, set_name=self.plan.set_name).own_parameters_path
        if not path.exists():
            write_text(path, "".join(f"{' '.join(map(_column, row))}\n" for row in self.plan.parameters))

    def _write_layout(self) -> None:
        """Say what the maps are, unless that is said already."""
        files = SuiteFiles(self.directory, self.plan.suite, set_name=self.plan.set_name)
        if self.plan.layout is not None and not files.layout_path.exists():
            write_layout(files, self.plan.layout)

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
            remedy = f"remove {self.partial}, and the same command begins again"
            if read_text(recorded, remedy) != described:
                read_json_object(recorded, remedy)
                raise UserError(
                    f"{self.partial}: unfinished simulations of another spec; remove it or choose another directory"
                )
            if not (damage := self._damage()):
                return
            self._refuse_loss(damage)
        self._refuse_others()
        make_folder(self.partial)
        self._refuse_loss("it counts simulations, but has no plan.json")
        for key in self.plan.keys:
            create_maps(self._maps_path(self.partial, key), self.plan)
        write_text(recorded, described)
        sync(self.directory)

    def _refuse_link(self) -> None:
        if self.partial.is_symlink():
            raise UserError(f"{self.partial}: is a link, through which other files would be written; take it away")

    def _damage(self) -> str | None:
        """What is wrong with the map files in progress; those that have their names are finished."""
        header = npy_header(self.plan)
        expected = len(header) + self.plan.n_simulations * block_bytes(self.plan)
        for key in self.plan.keys:
            path = self._maps_path(self.partial, key)
            if path.is_symlink():
                return f"{path.name} is a link"
            if not path.exists():
                if not self._maps_path(self.directory, key).exists():
                    return f"{path.name} is missing"
            elif path.stat().st_size != expected or read_start(path, len(header)) != header:
                return f"{path.name} is not the map file of {expected} bytes that was begun"
        return None

    def _refuse_loss(self, damage: str) -> None:
        """Refuse to begin again what is damaged where simulations are counted as done."""
        if any(_read_numbers(path) for path in self.partial.glob("done-*.txt")):
            raise UserError(f"{self.partial}: damaged ({damage}); remove it, and the same command begins again")

    def _refuse_others(self) -> None:
        """Leave files alone that were not made here."""
        if is_recorded(self.directory, self.plan.name, self.plan.digest):
            return
        files = [SuiteFiles(self.directory, *key, self.plan.set_name) for key in self.plan.keys]
        tables = [each.own_parameters_path for each in files] if self.plan.parameters is not None else []
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


def _read_numbers(path: Path) -> set[int]:
    """Numbers in a ledger; a last line without its end was torn by a kill and does not count."""
    whole, _, _ = read_bytes(path, "take it away, and its simulations are made again").rpartition(b"\n")
    return {int(line) for line in whole.split(b"\n") if line.isdigit() and len(line) <= _MOST_DIGITS}


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        content = read_bytes(path, "take it away, and its simulations are made again")
        file = open_own(path, os.O_WRONLY)
        try:
            os.ftruncate(file, content.rfind(b"\n") + 1)
        finally:
            os.close(file)


def _column(value: float) -> str:
    """Five decimals as in the CAMELS tables; all digits where five are not enough."""
    text = f"{value:.5f}"
    return text if float(text) == value else repr(value)
