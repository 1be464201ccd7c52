"""CMD-format suites, opened only if they are sound.

Maps stay on disk, mapped read-only; every suite knows its labels, which maps belong to which simulation, and a
fingerprint that ties results to the data they came from.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldlevel.data.blur import Blur
from fieldlevel.data.cmd_format import SuiteFiles, list_suites
from fieldlevel.data.layout_files import differences, find_layout
from fieldlevel.data.map_records import MapRecord, RecordedFile, recorded_file
from fieldlevel.data.npy_files import Float32Array, map_to_memory, read_header, read_maps
from fieldlevel.data.parameter_tables import Float64Array, read_parameters
from fieldlevel.data.soundness import (
    check_directory,
    check_distinct,
    check_suite,
    check_tables,
    digest_of_maps,
    directory_remarks,
    inspect_directory,
    orphan_defects,
    unit_defects,
)
from fieldlevel.data.split import IndexArray, Split, split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.suites import MOCK_MARK, is_mock

if TYPE_CHECKING:
    import torch

__all__ = [
    "Split",
    "Suite",
    "SuiteFiles",
    "check_directory",
    "check_distinct",
    "check_suite",
    "directory_remarks",
    "inspect_directory",
    "list_suites",
    "open_suite",
    "split_simulations",
    "unit_defects",
]

_FINGERPRINT_BYTES = 16
_OLD_FINGERPRINT = re.compile("[0-9a-f]{16}")
_MOST_NAMED = 20
_LARGEST_NUMBER = 2.0**53
_AS_THEY_ARE = TransformSpec()
_NO_BLUR = Blur()


@dataclass(frozen=True, eq=False)
class Suite:
    """One field of one suite of simulations.

    Attributes:
        directory: folder of the files.
        suite: e.g. `"IllustrisTNG"`.
        field: e.g. `"Mtot"`.
        set_name: e.g. `"LH"`.
        maps: surface densities [(Msun/h) / (Mpc/h)^2], shape (n_maps, N, N), mapped read-only from disk.
        parameters: labels in physical units, shape (n_simulations, P).
        transform: what is done to the maps as they are read.
        blur: what is drawn for each of them and done before.
        layout: what the maps are: parameters, box, slabs, pixels, units.
    """

    directory: Path
    suite: str
    field: str
    set_name: str
    maps: Float32Array
    parameters: Float64Array
    transform: TransformSpec = _AS_THEY_ARE
    blur: Blur = _NO_BLUR
    layout: Layout = dataclasses.field(default_factory=Layout)

    def __repr__(self) -> str:
        name = f"{self.suite} {self.set_name}{f', {MOCK_MARK}' if self.is_mock else ''}"
        maps = f"{self.n_maps} {self.field} maps of {self.n_pixels} x {self.n_pixels} pixels"
        return f"<Suite {name}: {maps}, {self.n_simulations} simulations of {self.parameters.shape[-1]} parameters>"

    @property
    def n_simulations(self) -> int:
        """Number of simulations."""
        return len(self.parameters)

    @property
    def n_maps(self) -> int:
        """Number of maps, as many to a simulation as the layout says."""
        return len(self.maps)

    @property
    def n_pixels(self) -> int:
        """Pixels a side of a map."""
        return int(self.maps.shape[-1])

    @property
    def is_mock(self) -> bool:
        """Whether this package simulated the suite."""
        return is_mock(self.suite) or self.layout.is_mock

    @property
    def files(self) -> SuiteFiles:
        """The files that the suite was opened from."""
        return SuiteFiles(self.directory, self.suite, self.field, self.set_name)

    @property
    def simulation_of_map(self) -> IndexArray:
        """Number of the simulation of every map, shape (n_maps,)."""
        return np.arange(self.n_maps, dtype=np.int64) // self.layout.n_maps

    @cached_property
    def fingerprint(self) -> str:
        """Thirty-two hexadecimal digits of the names, the shape, the labels and what the maps are.

        Mock maps that are those recorded beside them are known by their record (`map_records`): simulated anew, on
        another device or into another folder, they have the same fingerprint though their pixels differ by round-off.
        All other maps are known by every pixel. So are both by what the layout has other than is known of the suite, as
        another prior makes another network. The folder and the time of change do not enter: a copy has the fingerprint
        of its original. The map file is read once, unless it was read before and has not changed since; `digest_maps`
        does that and tells of it.

        Raises:
            DataError: the map file ends before its last map.
        """
        known = self._recorded
        if known is None or not known.is_of(digest_of_maps(self.files.maps_path)):
            return self.pixel_fingerprint
        return self._fingerprint(f"simulated {known.made_from.digest}".encode())

    @cached_property
    def pixel_fingerprint(self) -> str:
        """That of every pixel of every map, wherever they come from; errors as those of `fingerprint`."""
        return self._fingerprint(bytes.fromhex(digest_of_maps(self.files.maps_path)))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What the maps are known by: the fingerprint, then that of the pixels, which earlier versions had alone."""
        return tuple(dict.fromkeys((self.fingerprint, self.pixel_fingerprint)))

    @property
    def made_from(self) -> MapRecord | None:
        """As the function `made_from` tells it of the map file."""
        return made_from(self.files)

    @cached_property
    def _recorded(self) -> RecordedFile | None:
        return recorded_file(self.files)

    def _fingerprint(self, content: bytes) -> str:
        text = f"{self.suite} {self.field} {self.set_name} {self.maps.shape}"
        digest = hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_BYTES)
        digest.update(self.parameters.tobytes())
        digest.update(content)
        if other := differences(self.files, self.layout):
            digest.update(json.dumps(other, sort_keys=True).encode())
        return digest.hexdigest()

    def digest_maps(self, listener: Listener = ignore) -> None:
        """Read every map for the fingerprint, if that was not done since the file last changed.

        Args:
            listener: told about maps read.

        Raises:
            DataError: the map file ends before its last map.
        """
        digest_of_maps(self.files.maps_path, listener)

    def maps_of(self, simulations: npt.ArrayLike) -> IndexArray:
        """Numbers of the maps of some simulations.

        Args:
            simulations: numbers of simulations, shape (n,).

        Returns:
            Map numbers, shape (n_maps n,), those of one simulation together.

        Raises:
            UserError: no simulation has that number.
        """
        numbers = _whole_numbers(simulations, self.suite)
        wrong = numbers[(numbers < 0) | (numbers >= self.n_simulations)]
        if wrong.size:
            raise UserError(f"{self.suite}: no simulation {wrong[0]}; give numbers from 0 to {self.n_simulations - 1}")
        n_maps = self.layout.n_maps
        return (n_maps * numbers[:, None] + np.arange(n_maps)).reshape(-1)

    def read_simulation(self, simulation: int) -> Float32Array:
        """Read the maps of one simulation into memory of their own and transform them, shape (n_maps, N, N)."""
        if self.transform.kind == "none" and not self.blur.most:
            return self._read_raw(simulation)
        transformed: Float32Array = self.load_simulation(simulation).numpy()
        return transformed

    def read_simulations(self, simulations: npt.ArrayLike) -> Float32Array:
        """The same of some simulations, one after the other, shape (n_maps n, N, N)."""
        return np.concatenate([self.read_simulation(int(number)) for number in np.atleast_1d(simulations)])

    def load_simulation(self, simulation: int, device: "torch.device | str" = "cpu") -> "torch.Tensor":
        """Read the maps of one simulation and transform them on a device, shape (n_maps, N, N), not to be changed."""
        import torch  # noqa: PLC0415 (checking a folder needs no PyTorch)

        from fieldlevel.data.transformed import blur_maps, transform_maps  # noqa: PLC0415
        from fieldlevel.numerics.kept_tensors import kept  # noqa: PLC0415

        def load() -> torch.Tensor:
            raw, numbers = torch.from_numpy(self._read_raw(simulation)).to(device), self.maps_of(simulation)
            return transform_maps(blur_maps(raw, self.blur, numbers), self.transform, numbers, self.layout)

        place = self.files.maps_path.stat()
        identity = place.st_dev, place.st_ino, place.st_size, place.st_mtime_ns
        return kept(device, (*identity, self.transform, self.blur, repr(self.layout), int(simulation)), load)

    def _read_raw(self, simulation: int) -> Float32Array:
        path = self.files.maps_path
        return read_maps(path, read_header(path), int(self.maps_of(simulation)[0]), self.layout.n_maps)

    def transformed(self, transform: TransformSpec) -> "Suite":
        """The suite with another transform of its maps; the files are the same."""
        return replace(self, transform=transform)

    def blurred(self, most: float, seed: int) -> "Suite":
        """The suite with maps that are each smoothed by a Gaussian of their own, of at most so many pixels.

        Args:
            most: standard deviation [pixels]; 0 for none.
            seed: of the draws, which are others for another suite or set.
        """
        return replace(self, blur=Blur(most, seed, f"{self.suite} {self.set_name}"))

    def with_permuted_labels(self, simulations: IndexArray, seed: int) -> "Suite":
        """The suite with the labels of some simulations in random order."""
        parameters = self.parameters.copy()
        parameters[simulations] = parameters[np.random.default_rng(seed).permutation(simulations)]
        return replace(self, parameters=parameters)


def made_from(files: SuiteFiles) -> MapRecord | None:
    """What mock maps were simulated from; None where they are not those of a record beside them.

    Of a record that keeps no digests of its files, from before that was done, it is believed that they are.

    Args:
        files: names of the map file, which is read only if it was not since it last changed.

    Raises:
        DataError: the map file ends before its last map.
    """
    known = recorded_file(files)
    if known is None or (known.pixels is not None and not known.is_of(digest_of_maps(files.maps_path))):
        return None
    return known.made_from


def _whole_numbers(simulations: npt.ArrayLike, suite: str) -> IndexArray:
    try:
        given = np.asarray(simulations).reshape(-1)
    except ValueError:
        raise UserError(f"{suite}: lists of different lengths for simulations; give their numbers") from None
    if isinstance(simulations, np.ma.MaskedArray) and simulations.mask.any():
        raise UserError(f"{suite}: some of the numbers of simulations are masked; give them without a mask")
    is_whole = given.dtype.kind in "iuf" and bool(np.all(np.isfinite(given) & (given == np.trunc(given))))
    if given.size and not (is_whole and np.all(np.abs(given.astype(np.float64)) < _LARGEST_NUMBER)):
        shown = ", ".join(str(number) for number in given[:3])
        more = ", ..." * (given.size > 3)
        raise UserError(f"{suite}: simulations {shown}{more}: not whole numbers; give their numbers")
    return given.astype(np.int64)


def is_old_fingerprint(fingerprint: object) -> bool:
    """Whether a fingerprint is of an earlier version, of 64 maps only, and so tells nothing of the others."""
    return isinstance(fingerprint, str) and _OLD_FINGERPRINT.fullmatch(fingerprint) is not None


def open_suite(
    directory: str | Path,
    suite: str,
    field: str = "Mtot",
    set_name: str = "LH",
    *,
    check: bool = True,
    listener: Listener = ignore,
    verbose: bool = False,
) -> Suite:
    """Open a suite in CMD format, or refuse it with the words of the checker.

    Args:
        directory: folder that holds `Maps_<field>_<suite>_<set>_z=0.00.npy` and `params_<set>_<suite>.txt`; a suite
            `Nbody_X` without a parameter file of its own takes that of X.
        suite: e.g. `"IllustrisTNG"`.
        field: e.g. `"Mtot"`.
        set_name: e.g. `"LH"`.
        check: whether to read every pixel once; without it only header, size and labels are checked.
        listener: told about maps read.
        verbose: whether to show the progress, too.

    Returns:
        The suite.

    Raises:
        DataError: the data is not sound; `defects` holds every defect.

    Example:
        >>> import tempfile, fieldlevel
        >>> toy = fieldlevel.SimulateSpec(n_simulations=8, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = fieldlevel.simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> suite = open_suite(folder, "MockTNG")
        >>> suite
        <Suite MockTNG LH, MOCK DATA: 120 Mtot maps of 16 x 16 pixels, 8 simulations of 6 parameters>
        >>> suite.maps.shape, suite.parameters.shape
        ((120, 16, 16), (8, 6))
    """
    files = SuiteFiles(Path(directory), suite, field, set_name)
    found = list_suites(files.directory)
    if files not in found:
        there = ", ".join(f"{other.field} {other.suite} {other.set_name}" for other in found[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        missing = f"{files.maps_path}: no such file; the folder holds {there}{more}"
        raise DataError([missing, *orphan_defects(files.directory, found)])
    with telling(listener, verbose) as told:
        defects = check_suite(files, told) if check else check_tables(files)
    if defects:
        raise DataError(defects)
    maps = map_to_memory(files.maps_path, read_header(files.maps_path))
    layout = replace(find_layout(files), n_pixels=int(maps.shape[-1]))
    parameters = read_parameters(files.parameters_path, layout)
    parameters.setflags(write=False)
    return Suite(files.directory, suite, field, set_name, maps, parameters, layout=layout)
