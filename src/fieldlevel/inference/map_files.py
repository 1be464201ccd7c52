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
from fieldlevel.data.seen import SeenSource, find_digests, seen_digests
from fieldlevel.data.suite import made_from
from fieldlevel.errors import UserError, reason
from fieldlevel.files import make_place_for, written_aside
from fieldlevel.inference.calibration import calibration_path
from fieldlevel.inference.ensemble import Ensemble, Weighting, load
from fieldlevel.inference.outside_prior import outside_maps, telling_names, telling_posteriors
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.posterior import Posterior, refuse_many_samples
from fieldlevel.inference.trust.judging import reference_of
from fieldlevel.inference.trust.reference_file import reference_path
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.statistics.predictions import write_table
from fieldlevel.suites import MOCK_MARK
from fieldlevel.wording import joined


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
        posterior: with everything else that there is to know of it.
        transfer_std: standard deviations for maps of a suite that the network was not trained on, (n, P), NaN of
            parameters of which that is not known; None where nothing is, or not of every member of an ensemble.
        transfer_guarantee: what may be said of these, in a sentence, or which members lack them; empty where all do.
    """

    mean: FloatArray
    std: FloatArray
    layout: Layout
    is_mock: bool
    remarks: tuple[str, ...]
    seen: npt.NDArray[np.integer]
    posterior: Posterior
    transfer_std: FloatArray | None = None
    transfer_guarantee: str = ""

    @property
    def outside(self) -> npt.NDArray[np.integer]:
        """Numbers of the maps whose posterior of a cosmological parameter cannot be one inside the prior."""
        return outside_maps(self.mean, self.std, self.layout)


def infer_file(
    weights: Path | Sequence[Path],
    maps_path: Path,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    anyway: bool = False,
    quantiles: Sequence[float] = (),
    n_samples: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
    outputs: Sequence[str] = (),
    weighting: Weighting = "equal",
) -> Posteriors:
    """Write the posterior mean and standard deviation of each parameter for each map, and more where it is asked for.

    Args:
        weights: file of a trained network, or name of one that comes with the package; several are an ensemble.
        maps_path: `.npy` file of (n, N, N) surface densities in the units of the training field, or of one map, (N, N).
        out: CSV file to write: one row a map, columns `map`, `network` (the suite that it was trained on, whether that
            is MOCK DATA, and what else one should know), then `<name>_mean`, `<name>_std`, then `<name>_q<p>` of each
            quantile, then `<name>_transfer_std` where they are known, then `outside_prior`: those of the cosmological
            parameters whose posterior cannot be one inside the prior.
        device: where the network runs.
        listener: hears of the progress.
        anyway: also answer for maps that seem to be in another unit than those of the training.
        quantiles: probabilities p.
        n_samples: draws from each posterior, written to `samples_path(out)`; none when None.
        seed: of these.
        plot: file that the answers will be drawn to, which none of those written here may be; none when None.
        outputs: parameters to answer, which all networks infer; all of them when empty.
        weighting: of several networks (`inference.ensemble`).

    Returns:
        The posteriors and what there is to say of them.

    Raises:
        UserError: a file that cannot be read or written, maps that the network cannot take, or more samples than fit
            into the memory.
    """
    several = [weights] if isinstance(weights, Path) else list(weights)
    paths = [find_weights(path) for path in several]
    predictor, maps = load(paths, device, weights=weighting, outputs=outputs or None), _open_maps(maps_path)
    if maps.shape[:1] == (0,):
        raise UserError(f"{maps_path}: has no maps; give one or more")
    places = _places([out, *([] if n_samples is None else [samples_path(out)])], plot, maps_path, paths)
    if n_samples is not None:
        refuse_many_samples(n_samples, len(maps), predictor.layout.n_parameters)
    for member in predictor.members:
        reference_of(member)  # a damaged one is told of before the first map is read
    try:
        posterior = predictor.posterior(maps, listener=listener, anyway=anyway)
    except UserError as trouble:
        raise UserError(f"{maps_path}: {trouble}") from None
    files, record = _made_from(maps_path)
    remarks = (*predictor.remarks_on(record), *_remarks_on_field(predictor, files))
    network = _in_words(predictor, remarks)
    if n_samples is not None:
        write_samples(places[1], posterior, n_samples, seed, network)
    transfer = _transfer(predictor, posterior)
    _write(places[0], network, posterior, quantiles, transfer[0])
    seen = _find_seen(predictor.seen_sources, as_maps(maps, predictor.n_pixels))
    if files is not None and record is not None and files.field == predictor.field:
        seen = np.union1d(seen, _seen_by_number(predictor, files, record, len(maps)))
    return Posteriors(*_moments(posterior), predictor.layout, predictor.is_mock, remarks, seen, posterior, *transfer)


def _places(written: Sequence[Path], plot: Path | None, maps_path: Path, weights: Sequence[Path]) -> list[Path]:
    """Where files are to be written, each of which is another and none of them one of the maps' or the networks'."""
    beside = [each for path in weights for each in (calibration_path(path), reference_path(path))]
    known = {each.resolve(): each for each in beside}
    every = [*written, *([] if plot is None else [plot])]
    places = [make_place_for(path, maps_path, *weights) for path in every]
    for number, (path, place) in enumerate(zip(every, places, strict=True)):
        if place in known or (place.exists() and any(place.samefile(each) for each in beside if each.exists())):
            raise UserError(f"{path}: is read with the weights beside it; give the new file another name")
        if place in places[:number]:
            raise UserError(f"{path}: two files of one name, {every[places.index(place)]} too; give them two")
    return places


def samples_path(out: Path) -> Path:
    """Where the samples of a table of posteriors are.

    Example:
        >>> samples_path(Path("maps.posterior.csv")).name
        'maps.posterior.samples.npz'
    """
    return out.with_name(f"{out.stem}.samples.npz")


def write_samples(path: Path, posterior: Posterior, n_samples: int, seed: int, network: str) -> None:
    """Write samples as a `.npz` file, which `numpy.load` reads without pickle.

    Args:
        path: the file: `samples`, (n_samples, n, P) in physical units, float32; `names` of the parameters, (P,);
            `network`, what they are of; `joint`, whether correlations are known; `seed`.
        posterior: of n maps.
        n_samples: of each map.
        seed: of the samples.
        network: in words, with the mark of mock data.
    """
    drawn = posterior.sample(n_samples, seed).astype(np.float32)
    with written_aside(path) as aside, aside.open("wb") as stream:
        np.savez(
            stream,
            samples=drawn,
            names=np.array(posterior.names),
            network=np.array(network),
            joint=np.array(posterior.is_joint),
            seed=np.array(seed),
        )


def _moments(posterior: Posterior) -> tuple[FloatArray, FloatArray]:
    """What the networks tell, whether or not it can be inside the prior."""
    return posterior.moments or (posterior.mean, posterior.std)


def _transfer(predictor: Ensemble, posterior: Posterior) -> tuple[FloatArray | None, str]:
    """Standard deviations for maps of another suite and what may be said of them, where they were measured."""
    lacking = [member.source for member in predictor.members if member.transfer_errors is None]
    if not lacking:
        return predictor.transfer_std(*_moments(posterior)), predictor.transfer_guarantee
    if len(lacking) == len(predictor.members):
        return None, ""
    told = f"{len(lacking)} of {len(predictor.members)} members lack them ({', '.join(lacking)})"
    return None, f"no error bars for maps of another suite: {told}"


def _made_from(path: Path) -> tuple[SuiteFiles | None, MapRecord | None]:
    """The suite that the name of a map file tells, and what its maps were simulated from, as far as that is known."""
    files = files_of(path)
    try:
        return files, None if files is None else made_from(files)
    except (UserError, OSError, ValueError):
        return files, None


def _remarks_on_field(predictor: Ensemble, files: SuiteFiles | None) -> list[str]:
    """That the name of the file tells another field than that of the training, whose maps may be in the same unit."""
    if files is None or files.field == predictor.field:
        return []
    return [f"trained on {predictor.field}, and the name of the file tells {files.field}"]


def _seen_by_number(predictor: Ensemble, files: SuiteFiles, record: MapRecord, n_maps: int) -> IntArray:
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


def _in_words(predictor: Ensemble, remarks: Sequence[str]) -> str:
    """What a network was trained on, whether that is mock data, and what else one should know."""
    marks = [*([MOCK_MARK] if predictor.is_mock else []), *remarks]
    each = (source.suite for member in predictor.members for source in member.spec.all_sources if source.labelled)
    suites = joined([*dict.fromkeys(each)])
    if len(predictor.members) > 1:
        suites = f"{len(predictor.members)} networks on {suites}"
    return f"{suites} ({'; '.join(marks)})" if marks else suites


def _write(
    place: Path, network: str, posterior: Posterior, quantiles: Sequence[float], transfer: FloatArray | None
) -> None:
    (mean, std), layout = _moments(posterior), posterior.layout
    columns = [f"{name}_{moment}" for name in layout.names for moment in ("mean", "std")]
    moments = np.stack([mean, std], axis=-1).reshape(len(mean), -1)
    columns += [f"{name}_q{p:g}" for name in layout.names for p in quantiles]
    told = [moments, *_quantiles(posterior, quantiles)]
    if transfer is not None:
        known = np.flatnonzero(np.isfinite(transfer).any(axis=0))
        columns += [f"{layout.names[column]}_transfer_std" for column in known]
        told.append(transfer[:, known])
    names, flags = telling_names(layout), telling_posteriors(mean, std, layout).tolist()
    outside = [" ".join(name for name, out in zip(names, row, strict=True) if out) for row in flags]
    rows = zip(np.concatenate(told, axis=1).astype(float).tolist(), outside, strict=True)
    header = ["map", "network", *columns, "outside_prior"]
    write_table(place, header, ([n, network, *row, flag] for n, (row, flag) in enumerate(rows)))


def _quantiles(posterior: Posterior, quantiles: Sequence[float]) -> list[FloatArray]:
    """Those of each map side by side, parameter after parameter, (n, P * len(quantiles)); nothing of none."""
    each = [posterior.quantile(p) for p in quantiles]
    return [np.stack(each, axis=-1).reshape(len(posterior), -1)] if each else []


def _find_seen(sources: Sequence[SeenSource], maps: npt.NDArray[np.floating]) -> npt.NDArray[np.integer]:
    known = seen_digests(sources)
    if not known:
        return np.array([], dtype=np.int64)
    return find_digests(known, maps)


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
