"""Networks that the released CMD scripts trained, as weights files of this package.

A released file holds the weights alone. What else it takes to predict is in its name (suite, field, smoothing), in the
shapes (sizes of the network) and in the maps that it was trained on: the released scripts normalise by the mean and
standard deviation of the logarithm over all maps of the training suite, smoothed where the network's are.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (CMD and its released networks).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fieldlevel.data.cmd_format import FIELD_NAMES, files_of
from fieldlevel.data.map_headers import sound_header
from fieldlevel.data.normalise import LOG_OFFSETS, Normaliser, measure_logarithm
from fieldlevel.data.npy_files import stream_maps
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import transform_maps
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import restore_published
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.estimators.published_states import PublishedState, is_weights_file, read_published
from fieldlevel.files import check_regular, make_place_for, sha256_of
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.suites import NBODY_PREFIX, camels_suites, mock_suites, nbody_twin
from fieldlevel.training.presets import released_preset
from fieldlevel.training.settings import RULES
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

N_SIMULATIONS = 1000
"""Of the latin hypercubes that the released networks were trained on."""

KNOWN_STATISTICS = {("IllustrisTNG", "Mtot"): (11.104, 0.492)}
"""Mean and standard deviation of log10 over all maps of a suite and field, not smoothed."""

REMARK = (
    "trained by the released CMD scripts, not here: the simulations that it has seen are taken to be the 900 training "
    "and 50 validation simulations of the released split (LH, seed 1)"
)

_SET = "LH"
_NAME = re.compile(r"weights_(?P<suite>.+)_(?P<field>[^_]+)_\d+_all_steps_\d+_\d+_[A-Za-z]\d+(_.*)?")
_WIDTH = re.compile(r"smoothing_?(\d+(?:\.\d+)?)(?![A-Za-z0-9.])")
_BARE_NBODY = NBODY_PREFIX.rstrip("_")
_LARGEST_LOGARITHM, _LARGEST_STD, _SMALLEST_STD = 40.0, 20.0, 1e-6
"""No field of CMD reaches them in its units: 10^40, a scatter of 20 decades, or one of rounding errors."""
_USUAL_LOGARITHMS = dict.fromkeys(("Mtot", "Mcdm", "Mgas"), (6.0, 16.0))
"""Of surface densities in (Msun/h)/(Mpc/h)^2: logarithms and overdensities are outside, other units may not be."""
_WIDEST = 64.0
"""Of a smoothing in pixels: a quarter of a released map; beyond, next to nothing is left."""
_N_PARAMETERS = Layout().n_parameters
"""Of the CAMELS Multifield Dataset, all of which the released networks infer."""
_N_MOMENTS = 2 * _N_PARAMETERS


@dataclass(frozen=True)
class _Origin:
    """What maps a network was trained on."""

    suite: str
    field: str
    transform: TransformSpec

    @property
    def offset(self) -> float:
        return LOG_OFFSETS.get(self.field, 0.0)


def import_published(
    path: str | Path,
    out: str | Path,
    *,
    suite: str | None = None,
    field: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    maps: str | Path | None = None,
    smoothing: float | None = None,
    listener: Listener = ignore,
    verbose: bool = False,
) -> Path:
    """Turn a network of the released CMD scripts into a weights file of this package.

    The mean and standard deviation of the logarithm, which the released file does not hold, are given, measured on all
    maps of the training suite, or known (total mass of IllustrisTNG without smoothing).

    Args:
        path: `weights_<suite>_<field>_<trial>_all_steps_500_500_o3.pt`, `..._smoothing_<pixels>.pt`, or the same under
            another name; it is left as it is.
        out: the weights file to write; one that stood there is replaced.
        suite: that it was trained on; from the name when omitted.
        field: likewise.
        mean: of log10(map) over the suite that it was trained on, of log10(1 + map) for stellar mass.
        std: standard deviation of the same.
        maps: map file of that suite and field to measure both on, once the maps are smoothed as the network's.
        smoothing: standard deviation of the Gaussian that the maps were smoothed with [pixels]; from the name when
            omitted.
        listener: told of the maps measured.
        verbose: whether to show the progress, too.

    Returns:
        `out`.

    Raises:
        DataError: a map file that cannot be used.
        UserError: a file that is no such network, what the name and the arguments say differs, or something is missing.
        OSError: the disk is full.
    """
    source, maps_path = Path(path), None if maps is None else Path(maps)
    published = read_published(source)
    _refuse_other_kinds(published, source)
    origin = _origin(source, suite, field, smoothing)
    given = _given_statistics(source, mean, std, maps_path)
    target = _make_place(Path(out), source, maps_path)
    with telling(listener, verbose) as hears:
        normaliser, told = _normaliser(source, origin, given, maps_path, published.n_pixels, hears)
    spec = _spec(origin, published.hidden)
    split = spec.split.divide(N_SIMULATIONS)
    save_network(
        target,
        restore_published(published, spec.network.dropout),
        spec,
        normaliser,
        training_simulations=split.train,
        validation_simulations=split.validation,
        provenance=_provenance(source, told),
    )
    return Path(out)


def _refuse_other_kinds(published: PublishedState, source: Path) -> None:
    if published.n_channels != 1:
        told = f"{source}: reads {published.n_channels} channels, several fields together"
        raise UserError(f"{told}, which is not read yet; import a network of one field")
    if published.n_outputs != _N_MOMENTS:
        means = " (posterior means alone)" if published.n_outputs == _N_PARAMETERS else ""
        told = f"{source}: has {published.n_outputs} outputs{means}"
        raise UserError(f"{told}; a network o3_err has {_N_MOMENTS}, mean and error of each of {_N_PARAMETERS}")


def _origin(source: Path, suite: str | None, field: str | None, smoothing: float | None) -> _Origin:
    """From the name and the options, which must not contradict each other."""
    match = _NAME.fullmatch(source.stem)
    named = match.groupdict() if match else {"suite": None, "field": None}
    suite = _agreed(source, "suite", _named_suite(named["suite"], suite), suite, _suites())
    field = _agreed(source, "field", named["field"], field, FIELD_NAMES)
    named_width = _named_smoothing(source, smoothing)
    if named_width is not None and smoothing is not None and named_width != smoothing:
        raise UserError(f"{source}: named for a smoothing of {named_width:g} pixels, not {smoothing:g}; give the one")
    width = named_width if smoothing is None else _number("smoothing", smoothing)
    if not 0 <= (width or 0) <= _WIDEST:
        raise UserError(f"smoothing = {width:g}: a width in pixels, from 0 to {_WIDEST:g}; give that of the training")
    return _Origin(suite, field, TransformSpec("smoothing", width) if width else TransformSpec())


def _suites() -> tuple[str, ...]:
    """Of which networks are released, and the mock ones, each with its gravity-only twins."""
    pairs = [(names, tuple(map(nbody_twin, names))) for names in (camels_suites(), mock_suites())]
    return tuple(dict.fromkeys(name for names, twins in pairs for name in (*names, *twins)))


def _agreed(source: Path, what: str, named: str | None, given: str | None, known: tuple[str, ...]) -> str:
    if named is not None and given is not None and named != given:
        raise UserError(f"{source}: named for the {what} {named}, not {given}; leave --{what} away, or rename the file")
    value = named if given is None else given
    if value is None:
        allowed = ", ".join(known)
        raise UserError(f"{source}: its name does not tell the {what}; give --{what}, one of {allowed}")
    if value == _BARE_NBODY:
        raise UserError(f"{source}: {value} of which suite? give --suite, e.g. --suite {nbody_twin(known[0])}")
    if not RULES[what][0](value):
        raise UserError(f"{what} = {value[:64]!r}: not a name; give --{what}, e.g. --{what} {known[0]}")
    if value not in known and (near := next((name for name in known if name.lower() == value.lower()), None)):
        raise UserError(f"{what} = {value}: write {near}")
    return value


def _named_suite(named: str | None, given: str | None) -> str | None:
    """Names may say `Nbody` of the gravity-only twin of any suite."""
    is_told = given is not None and given.startswith(NBODY_PREFIX)
    return given if named == _BARE_NBODY and is_told else named


def _named_smoothing(source: Path, given: float | None) -> float | None:
    match = _WIDTH.search(source.stem)
    if match is None and given is None and "smooth" in source.stem.lower():
        raise UserError(f"{source}: named for smoothed maps, but its name does not tell the width; give --smoothing")
    return float(match[1]) if match else None


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} = {str(value)[:40]}: not a number; give one with --{name}") from None


def _given_statistics(
    source: Path, mean: float | None, std: float | None, maps_path: Path | None
) -> tuple[float, float] | None:
    if maps_path is not None and (mean is not None or std is not None):
        raise UserError(f"{source}: both --maps and --mean or --std; measure or give, not both")
    if (mean is None) != (std is None):
        raise UserError(f"{source}: give --mean and --std of log10(map) together")
    if mean is None or std is None:
        return None
    mean, std = _number("mean", mean), _number("std", std)
    if not abs(mean) < _LARGEST_LOGARITHM:
        raise UserError(f"mean = {mean:g}: of log10(map) it is between -40 and 40; is it that of the maps themselves?")
    if not _SMALLEST_STD < std < _LARGEST_STD:
        raise UserError(f"std = {std:g}: of log10(map) it is above 0 and below 20; is it that of the maps themselves?")
    return mean, std


def _make_place(out: Path, source: Path, maps_path: Path | None) -> Path:
    target = make_place_for(out, source, *(() if maps_path is None else (maps_path,)))
    if target.exists() and target.stat().st_size and not is_weights_file(target):
        raise UserError(f"{out}: stands there and is no weights file; give another name with --out")
    return target


def _normaliser(
    source: Path,
    origin: _Origin,
    given: tuple[float, float] | None,
    maps_path: Path | None,
    n_pixels: int,
    listener: Listener,
) -> tuple[Normaliser, str]:
    """Mean and standard deviation of the logarithm, and in words where they come from."""
    if given is not None:
        return Normaliser(*given, origin.offset), "given"
    if maps_path is not None:
        return _measure(maps_path, origin, n_pixels, listener), f"measured on {maps_path.name}"
    known = KNOWN_STATISTICS.get((origin.suite, origin.field))
    if known is not None and origin.transform.kind == "none":
        return Normaliser(*known, origin.offset), "known constants of the suite"
    smoothed = "" if origin.transform.kind == "none" else f", smoothed by {origin.transform.scale:g} pixels"
    known_ones = " and ".join(f"{field} of {suite} without smoothing" for suite, field in KNOWN_STATISTICS)
    raise UserError(
        f"{source}: the file does not hold the mean and standard deviation of log10 of the maps that it was trained on "
        f"({origin.field} of {origin.suite}{smoothed}): give --mean and --std, or the suite's map file with --maps to "
        f"measure them; only those of {known_ones} are known"
    )


def _measure(path: Path, origin: _Origin, n_pixels: int, listener: Listener) -> Normaliser:
    """Over all maps of a file, test maps included, as the released scripts do."""
    check_regular(path, "give a map file with --maps")
    files = files_of(path)
    expected = (origin.field, origin.suite, _SET)
    if files is not None and (files.field, files.suite, files.set_name) != expected:
        theirs, ours = f"{files.field} maps of {files.suite} {files.set_name}", "{} maps of {} {}".format(*expected)
        raise UserError(f"{path}: {theirs}, but the network was trained on {ours}; measure on those")
    if not path.exists():
        raise UserError(f"{path}: no such file; give a map file with --maps")
    header = sound_header(path)
    if header.shape[0] < 1 or header.shape[1] != n_pixels:
        raise UserError(f"{path}: {header.shape[0]} maps of {header.shape[1]} pixels a side, not of {n_pixels}")
    mean, std = measure_logarithm(_blocks(path, origin, listener), origin.offset)
    if not (abs(mean) < _LARGEST_LOGARITHM and _SMALLEST_STD < std < _LARGEST_STD):
        raise UserError(f"{path}: mean {mean:g} and standard deviation {std:g} of log10(map); give maps with structure")
    lowest, highest = _USUAL_LOGARITHMS.get(origin.field, (-math.inf, math.inf))
    if not lowest < mean < highest:
        told = f"{path}: mean {mean:.3g} of log10(map), where {origin.field} in (Msun/h)/(Mpc/h)^2 has some 10 to 11"
        raise UserError(f"{told}; give raw maps in that unit, not their logarithm or an overdensity")
    return Normaliser(mean, std, origin.offset)


def _blocks(path: Path, origin: _Origin, listener: Listener) -> Iterator[Tensor]:
    header = sound_header(path)
    for first, block in stream_maps(path, header):
        maps, n_maps = torch.from_numpy(block), header.shape[0]
        usable = torch.isfinite(maps) & (maps >= 0) & (maps + origin.offset > 0)
        if not usable.all():
            number = first + int((~usable.all(2).all(1)).nonzero()[0])
            raise UserError(f"{path}: NaN, infinite or non-positive pixels in map {number}; give raw maps in --maps")
        done = first + len(block)
        yield transform_maps(maps, origin.transform, range(first, done))
        listener(Progress(f"measure {path.name}", done, n_maps, "maps"))


def _spec(origin: _Origin, hidden: int) -> TrainSpec:
    """The released recipe; learning rate, weight decay and dropout of the very network are not in its file."""
    released = released_preset()
    network: NetworkSpec = replace(released.network, hidden=hidden, std_from="square")
    return replace(released, suite=origin.suite, field=origin.field, transform=origin.transform, network=network)


def _provenance(source: Path, statistics: str) -> dict[str, Any]:
    return {
        "remark": REMARK,
        "imported_from": source.name,
        "source_sha256": sha256_of(source),
        "normaliser_statistics": statistics,
        "not_in_the_file": ["optimiser.learning_rate", "optimiser.weight_decay", "network.dropout"],
    }
