"""Posteriors for the maps of any `.npy` file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.cmd_format import SuiteFiles, files_of
from fieldlevel.data.given import as_maps
from fieldlevel.data.map_records import MapRecord
from fieldlevel.data.npy_files import MapHeader, map_to_memory, read_header
from fieldlevel.data.seen import SeenSource, map_digests, seen_digests
from fieldlevel.data.suite import made_from
from fieldlevel.errors import UserError, reason
from fieldlevel.files import make_place_for
from fieldlevel.inference.outside_prior import outside_maps, telling_names, telling_posteriors
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.statistics.predictions import write_table
from fieldlevel.suites import MOCK_MARK

_BLOCK = 128
"""Maps that are compared with seen ones at a time."""


@dataclass(frozen=True, eq=False)
class Posteriors:
    """What a network says of some maps.

    Attributes:
        mean: posterior means, (n, P), columns in the order of the layout's parameters.
        std: posterior standard deviations, (n, P).
        layout: of the maps of the training, with the priors of the network.
        is_mock: whether the network was trained on mock maps.
        remarks: what one should know of the network before believing it.
        seen: numbers of the maps that it was trained or validated on, as far as its file tells.
    """

    mean: FloatArray
    std: FloatArray
    layout: Layout
    is_mock: bool
    remarks: tuple[str, ...]
    seen: npt.NDArray[np.integer]

    @property
    def outside(self) -> npt.NDArray[np.integer]:
        """Numbers of the maps whose posterior of a cosmological parameter cannot be one inside the prior."""
        return outside_maps(self.mean, self.std, self.layout)


def infer_file(
    weights: Path,
    maps_path: Path,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    anyway: bool = False,
) -> Posteriors:
    """Write the posterior mean and standard deviation of each parameter for each map.

    Args:
        weights: file of a trained network, or name of one that comes with the package.
        maps_path: `.npy` file of (n, N, N) surface densities in the units of the training field, or of one map, (N, N).
        out: CSV file to write: one row a map, columns `map`, `network` (the suite that it was trained on, whether that
            is MOCK DATA, and what else one should know), then `<name>_mean`, `<name>_std`, then `outside_prior`: those
            of the cosmological parameters whose posterior cannot be one inside the prior.
        device: where the network runs.
        listener: hears of the progress.
        anyway: also answer for maps that seem to be in another unit than those of the training.

    Returns:
        The posteriors and what there is to say of them.

    Raises:
        UserError: a file that cannot be read or written, or maps that the network cannot take.
    """
    weights = find_weights(weights)
    predictor, maps = load(weights, device), _open_maps(maps_path)
    if maps.shape[:1] == (0,):
        raise UserError(f"{maps_path}: has no maps; give one or more")
    place = make_place_for(out, maps_path, weights)
    try:
        mean, std = predictor.predict(maps, listener=listener, anyway=anyway)
    except UserError as trouble:
        raise UserError(f"{maps_path}: {trouble}") from None
    files, record = _made_from(maps_path)
    remarks = predictor.remarks_on(record)
    _write(place, predictor, mean, std, remarks)
    seen = _find_seen(predictor.seen_sources, as_maps(maps, predictor.n_pixels))
    if files is not None and record is not None and files.field == predictor.spec.field:
        seen = np.union1d(seen, _seen_by_number(predictor, files, record, len(maps)))
    return Posteriors(mean, std, predictor.layout, predictor.is_mock, remarks, seen)


def _made_from(path: Path) -> tuple[SuiteFiles | None, MapRecord | None]:
    """The suite that the name of a map file tells, and what its maps were simulated from, as far as that is known."""
    files = files_of(path)
    try:
        return files, None if files is None else made_from(files)
    except (UserError, OSError, ValueError):
        return files, None


def _seen_by_number(predictor: Predictor, files: SuiteFiles, record: MapRecord, n_maps: int) -> IntArray:
    """Numbers of maps of the simulations that were seen, where the file is of the same set, perhaps simulated anew."""
    each = predictor.layout.n_maps
    numbers = [
        number
        for source in predictor.seen_sources
        if (source.suite, source.set_name, source.made_from) == (files.suite, files.set_name, record)
        for number in source.numbers
    ]
    maps = (each * np.array(numbers, dtype=np.int64)[:, None] + np.arange(each)).reshape(-1)
    return maps[maps < n_maps]


def _write(place: Path, predictor: Predictor, mean: FloatArray, std: FloatArray, remarks: Sequence[str]) -> None:
    marks = [*([MOCK_MARK] if predictor.is_mock else []), *remarks]
    network = f"{predictor.spec.suite} ({'; '.join(marks)})" if marks else predictor.spec.suite
    columns = [f"{name}_{moment}" for name in predictor.layout.names for moment in ("mean", "std")]
    moments = np.stack([mean, std], axis=-1).reshape(len(mean), -1).astype(float).tolist()
    names, flags = telling_names(predictor.layout), telling_posteriors(mean, std, predictor.layout).tolist()
    outside = [" ".join(name for name, out in zip(names, row, strict=True) if out) for row in flags]
    rows = zip(moments, outside, strict=True)
    header = ["map", "network", *columns, "outside_prior"]
    write_table(place, header, ([n, network, *row, flag] for n, (row, flag) in enumerate(rows)))


def _find_seen(sources: Sequence[SeenSource], maps: npt.NDArray[np.floating]) -> npt.NDArray[np.integer]:
    known = seen_digests(sources)
    if not known:
        return np.array([], dtype=np.int64)
    digests = (map_digests(maps[start : start + _BLOCK]) for start in range(0, len(maps), _BLOCK))
    return np.flatnonzero([digest in known for block in digests for digest in block])


def _open_maps(path: Path) -> npt.NDArray[np.floating]:
    try:
        header = read_header(path)
        _check_header(path, header)
        maps = map_to_memory(path, header)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); give an .npy file of maps") from None
    except (ValueError, TypeError, EOFError, OverflowError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: not an .npy file of numbers ({reason(error)})") from None
    return maps[np.newaxis] if maps.ndim == 2 else maps


def _check_header(path: Path, header: MapHeader) -> None:
    """Refuse a file that is shorter than its header says."""
    if header.offset + header.dtype.itemsize * math.prod(header.shape) > path.stat().st_size:
        raise ValueError(f"shape {header.shape} of {header.dtype}, but {path.stat().st_size} bytes")
