"""Making the reference of a network from the maps that it was trained on, and from some that it was not.

At most `MOST_FITTED` maps of training simulations are looked at, and `MOST_HELD_OUT` of those of validation and
calibration, or of another set that the network has not seen; never test maps. For a network whose training maps were
each smoothed differently (`TrainSpec.blur`) they are smoothed so too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.read_ahead import read_ahead
from fieldlevel.data.seen import SeenMaps, SeenSource, map_digests
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluation import refuse_misfit, refuse_seen
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.trust.alterations import ALTERATIONS, Alteration
from fieldlevel.inference.trust.compared import Compared, joined_digests
from fieldlevel.inference.trust.map_statistics import Measured, measure
from fieldlevel.inference.trust.reference_file import (
    place_for_reference,
    read_reference_file,
    reference_path,
    weights_checksum,
    write_reference_file,
)
from fieldlevel.inference.trust.trust_reference import Reference, Sample, refuse_few
from fieldlevel.numerics.transforms import smooth_gaussian
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.training.weights_file import read_weights_file

MOST_FITTED, MOST_HELD_OUT, N_ALTERED = 3000, 3000, 375
"""Maps; more would tell little."""
BLOCK = 128
_FEWEST_EACH = 3
"""Maps of a simulation, to know what they have in common."""
_BEYOND = 1.1
"""Times the largest width that the training maps were smoothed by, up to which maps are not unlike for their width: at
the end of what is compared with nothing lies beyond."""
_FAR_APART = 2**32
"""Between the numbers of suites that share nothing."""
_N_LOOKED_AT = 8
"""Simulations whose maps must be those that the network has seen."""
_LEAST_SPREAD = 0.1
"""Variance of the cosmology of a set that others are compared with, over that of the training; of sets in which one
parameter varies at a time it is a sixth."""
_SAME = 1e-4
"""Parameters this near are those of one simulation."""


def _as_they_are(maps: Tensor) -> Tensor:
    return maps


Chosen = Sequence[tuple[Suite, npt.NDArray[np.integer]]]
"""Suites, each with the numbers of some of its simulations."""


def make_reference(predictor: Predictor, fitted: Chosen, held_out: Chosen, listener: Listener = ignore) -> Reference:
    """Measure maps of a training and of held-out simulations.

    Args:
        predictor: the network.
        fitted: simulations that it was trained on.
        held_out: simulations that it was not trained on, for the thresholds; sets of maps are also compared with those
            of each suite alone.
        listener: told of every block of maps.

    Raises:
        UserError: too few of either, or maps of another field, size or slab.
    """
    usual, compared = _choose(predictor, fitted, MOST_FITTED), _choose_held_out(predictor, held_out)
    some = _choose(predictor, fitted, N_ALTERED)
    refuse_few(_n_maps(usual), len({number for each in compared for number in each.simulation.tolist()}))
    fit = _measure_all(predictor, usual, "trust: training maps", listener)
    held = _measure_all(predictor, compared, "trust: held-out maps", listener)
    altered = {}
    for number, (name, change) in enumerate(ALTERATIONS.items(), start=1):
        task = f"trust: altered maps ({number} of {len(ALTERATIONS)})"
        altered[name] = _measure_all(predictor, some, task, listener, change).measured
    return Reference.fit(fit, held, altered, _BEYOND * predictor.spec.blur)


class _Some(NamedTuple):
    """Some maps of a suite.

    Attributes:
        suite: as it is in its file.
        maps: their numbers in it, (n,).
        simulation: a number for the simulation of each, (n,).
        widths: by which each is smoothed first [pixels], (n,), zeros where none is.
    """

    suite: Suite
    maps: IntArray
    simulation: IntArray
    widths: FloatArray


def _choose(predictor: Predictor, chosen: Chosen, most: int, fewest_each: int = _FEWEST_EACH) -> list[_Some]:
    """At most so many maps, of as many simulations as have some each.

    Simulations of one number that share their initial conditions are one, as they are not exchangeable. Of siblings
    others are chosen in every suite, as far as there are.
    """
    found, random = [], np.random.default_rng(0)
    for place, (first, (suite, simulations)) in enumerate(zip(_first_siblings(chosen), chosen, strict=True)):
        refuse_misfit(predictor, suite)
        others = np.roll(simulations, -(place * len(simulations) // len(chosen)))
        maps, simulation = _spread(suite, others, most // len(chosen), fewest_each)
        reach = _BEYOND * predictor.spec.blur
        widths = reach * _even(simulation, random) if reach else np.zeros(len(maps))
        found.append(_Some(suite, maps, simulation + first * _FAR_APART, widths))
    return found


def _choose_held_out(predictor: Predictor, chosen: Chosen) -> list[_Some]:
    """Those that others are compared with: all maps of a simulation where each has a width of its own."""
    all_maps = max(suite.layout.n_maps for suite, _ in chosen)
    return _choose(predictor, chosen, MOST_HELD_OUT, all_maps if predictor.spec.blur else _FEWEST_EACH)


def _even(simulation: IntArray, random: np.random.Generator) -> FloatArray:
    """A number above 0 and up to 1 for each map, evenly spread among those of a simulation, which stand together."""
    counts = np.unique(simulation, return_counts=True)[1]
    parts = [(random.permutation(count) + 1 - random.random(count)) / count for count in counts.tolist()]
    return np.concatenate(parts)


def _n_maps(chosen: Sequence[_Some]) -> int:
    return sum(len(some.maps) for some in chosen)


def _measure_all(
    predictor: Predictor, chosen: Sequence[_Some], task: str, listener: Listener, change: Alteration = _as_they_are
) -> Sample:
    """Statistics of maps, smoothed and then changed."""
    parts = []
    for suite, maps, _, widths in chosen:
        blocks = [slice(start, start + BLOCK) for start in range(0, len(maps), BLOCK)]
        for block, pixels in read_ahead(blocks, _pixels_of(suite, maps)):
            parts.append(measure(predictor, pixels, _after_smoothing(change, widths[block]), BLOCK))
            listener(Progress(f"{task} of {suite.suite}", min(block.stop, len(maps)), len(maps), "maps"))
    source = np.repeat(np.arange(len(chosen)), [len(some.maps) for some in chosen])
    simulation, widths = (np.concatenate([getattr(some, name) for some in chosen]) for name in ("simulation", "widths"))
    return Sample(Measured.joined(parts), simulation, source, widths)


def _pixels_of(suite: Suite, maps: IntArray) -> Callable[[slice], npt.NDArray[np.floating]]:
    """What reads a block of some maps."""
    return lambda block: suite.maps[maps[block]]


def _after_smoothing(change: Alteration, widths: FloatArray) -> Alteration:
    if not widths.any():
        return change
    return lambda maps: change(smooth_gaussian(maps, torch.as_tensor(widths)))


def _first_siblings(chosen: Chosen) -> list[int]:
    """Of each suite the place of the first whose simulations have the same initial conditions, perhaps its own."""
    whose = [suite.layout.initial_conditions for suite, _ in chosen]
    return [whose.index(each) if each else place for place, each in enumerate(whose)]


def _spread(
    suite: Suite, simulations: npt.NDArray[np.integer], most: int, fewest_each: int
) -> tuple[IntArray, IntArray]:
    """At most so many maps of a suite, a few of many simulations before many of a few, and the simulation of each."""
    n_maps = suite.layout.n_maps
    each = int(np.clip(most // max(len(simulations), 1), min(fewest_each, n_maps), n_maps))
    some = np.sort(simulations[: max(most // each, 1)]).astype(np.int64)
    of_simulation = (np.arange(each) * n_maps // each + np.arange(len(some))[:, None]) % n_maps
    return (some[:, None] * n_maps + np.sort(of_simulation, axis=1)).reshape(-1), np.repeat(some, each)


def write_reference(
    weights: str | Path,
    data: str | Path,
    suite: str | None = None,
    set_name: str | None = None,
    *,
    unseen: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    listener: Listener = ignore,
) -> Path:
    """Make the reference of a network that exists and write it beside its weights.

    Args:
        weights: file of a trained network, or name of one that comes with the package.
        data: folder of the CMD files that it was trained on.
        suite: one of those that it was trained on with labels; all of them when None.
        set_name: of that suite; as trained on when None.
        unseen: another set of these suites, to compare with in the place of those of validation and calibration.
        out: another place for the file.
        device: where the network runs.
        listener: told of every simulation.

    Returns:
        The file.

    Raises:
        DataError: a folder that cannot be used.
        UserError: no such network; other simulations than it was trained on; too few; a file of that name that is no
            reference.
    """
    path = find_weights(weights)
    predictor = load(path, device)
    target = out or reference_path(path)
    place_for_reference(target, path)
    sources = _chosen_sources(predictor, suite, set_name)
    opened = [open_suite(data, one.suite, predictor.spec.field, one.set_name, check=False) for one in sources]
    for source, each in zip(sources, opened, strict=True):
        _refuse_others(source, each)
    fitted = [(each, np.array(source.training)) for source, each in zip(sources, opened, strict=True)]
    held_out = [
        (each, np.array((*source.validation, *source.calibration)))
        for source, each in zip(sources, opened, strict=True)
    ]
    if unseen is not None:
        held_out = [_unseen(predictor, *each, unseen) for each in zip(sources, opened, strict=True)]
    reference = make_reference(predictor, fitted, held_out, listener)
    if unseen is not None:
        reference = replace(reference, compared=_compared(_choose_held_out(predictor, held_out)))
    return write_reference_file(target, reference, weights_checksum(path))


def _chosen_sources(predictor: Predictor, suite: str | None, set_name: str | None) -> list[SeenSource]:
    labelled = [source for source in predictor.sources if source.labelled and source.training]
    found = [source for source in labelled if suite in (None, source.suite) and set_name in (None, source.set_name)]
    if not found:
        there = ", ".join(f"{source.suite} {source.set_name}" for source in labelled) or "nothing that its file tells"
        asked = " ".join(each for each in (suite, set_name) if each) or "anything with labels"
        raise UserError(f"{predictor.source}: not trained on {asked} but on {there}; give that")
    return found


def _refuse_others(source: SeenSource, suite: Suite) -> None:
    """Refuse simulations or maps that are not those of the training, as their parameters and some maps tell."""
    told = f"{suite.suite} {suite.set_name} of {suite.directory}: not the simulations that the network was trained on"
    if source.numbers and max(source.numbers) >= suite.n_simulations:
        raise UserError(f"{told} (it has {suite.n_simulations}); give the folder that it was trained on")
    if source.seen is None:
        return
    known = np.array(source.seen.parameters)[: len(source.training)]
    is_of_names = source.seen.names == suite.layout.names
    if is_of_names and not np.allclose(suite.parameters[list(source.training)], known, atol=_SAME):
        raise UserError(f"{told}, as their parameters tell; give the folder that it was trained on")
    if not (_has_maps(source, source.seen, suite) or _was_simulated_alike(source, suite)):
        raise UserError(f"{told}, as their maps tell; give the folder that it was trained on")


def _has_maps(source: SeenSource, seen: SeenMaps, suite: Suite) -> bool:
    """Whether the maps of some simulations, of all parts of the training, are those that were seen."""
    places = np.unique(np.linspace(0, len(source.numbers) - 1, _N_LOOKED_AT).astype(int))
    return all(
        seen.maps[place] == "".join(map_digests(suite.read_simulation(source.numbers[place]))) for place in places
    )


def _was_simulated_alike(source: SeenSource, suite: Suite) -> bool:
    """Whether the maps are mock ones of the same record, simulated anew, whose pixels differ by round-off."""
    return source.made_from is not None and source.made_from.digest != "" and suite.made_from == source.made_from


def _unseen(predictor: Predictor, source: SeenSource, own: Suite, set_name: str) -> tuple[Suite, IntArray]:
    """All simulations of another set of a suite, none of which the network has seen or is to be tested on."""
    suite = open_suite(own.directory, source.suite, predictor.spec.field, set_name, check=False)
    every = np.arange(suite.n_simulations)
    refuse_seen(predictor, suite, every)
    _refuse_test_simulations(source, own, suite)
    if _spread_of_cosmology(suite, every) < _LEAST_SPREAD * _spread_of_cosmology(own, np.array(source.training)):
        told = "its simulations hardly differ in their cosmology, so all others would be unlike them"
        raise UserError(f"{suite.suite} {suite.set_name}: {told}; name a set that fills the prior")
    return suite, every


def _spread_of_cosmology(suite: Suite, simulations: npt.NDArray[np.integer]) -> float:
    """Variance of the cosmological parameters in units of the prior, of all parameters where none is cosmological."""
    layout = suite.layout
    columns = [layout.column(parameter.name) for parameter in layout.cosmological or layout.parameters]
    return float(layout.to_unit_interval(suite.parameters[simulations])[:, columns].var(axis=0).sum())


def _refuse_test_simulations(source: SeenSource, own: Suite, suite: Suite) -> None:
    """Refuse a set that holds test simulations of the network under another name, as their parameters tell."""
    rest = np.setdiff1d(np.arange(own.n_simulations), source.numbers)
    rows = SeenMaps(tuple(map(tuple, own.parameters[rest].tolist())), ("",) * len(rest), own.layout.names)
    found = np.flatnonzero(rows.has_rows(suite.parameters, suite.layout, cosmology_only=False))
    if len(found):
        told = f"{len(found)} of its simulations are test simulations of the network (first: {found[0]})"
        raise UserError(f"{suite.suite} {suite.set_name}: {told}, as their parameters tell; name another set")


def _compared(held_out: Sequence[_Some]) -> Compared:
    """Which maps of a set are measured, to be known again."""
    sets = " and ".join(f"{some.suite.suite} {some.suite.set_name}" for some in held_out)
    blocks = (
        some.suite.maps[some.maps[start : start + BLOCK]]
        for some in held_out
        for start in range(0, len(some.maps), BLOCK)
    )
    return Compared(sets, joined_digests(blocks))


def kept_reference(weights: str | Path) -> Path | None:
    """The reference beside a network that can be used as it is; None where there is none, or a damaged or old one.

    Args:
        weights: file or name of the network.

    Raises:
        UserError: no such network.
    """
    path = find_weights(weights)
    return reference_path(path) if _has_good_reference(path) else None


def _has_good_reference(weights: Path) -> bool:
    """Whether there is one that tells the suites and the widths of the training apart, where there are several."""
    known = read_weights_file(weights)
    try:
        reference = read_reference_file(reference_path(weights), known.checksum)
    except UserError:
        return False
    knows_widths = reference.widths is not None or not known.spec.blur
    n_sources = sum(bool(source.labelled and source.training) for source in known.sources)
    return knows_widths and (n_sources < 2 or bool(reference.held_out.by_group()))


def reference_remarks(weights: str | Path, path: Path) -> tuple[str, ...]:
    """What to know of a reference that was made, a line each.

    Args:
        weights: file or name of the network.
        path: the reference.

    Raises:
        UserError: it is damaged, or that of another network.
    """
    return read_reference_file(path, weights_checksum(find_weights(weights))).remarks


def complete_reference(
    weights: Path, data: str | Path, device: str = "auto", listener: Listener = ignore
) -> tuple[str, ...]:
    """Make the reference of a network that was just trained, unless it is there.

    Returns:
        What is in the way, a line, where there can be none: too few simulations, as a rule.
    """
    if _has_good_reference(weights):
        return ()
    reference_path(weights).unlink(missing_ok=True)
    try:
        write_reference(weights, data, device=device, listener=listener)
    except UserError as trouble:
        return (f"no reference is kept of what the maps of the training are like ({trouble})",)
    return ()


def copy_reference(weights: Path, out: Path) -> Path | None:
    """Give a copy of a network the reference of the original, bound to the copy; None where there is none.

    Args:
        weights: of the original.
        out: weights file of the same network, perhaps in float16.

    Raises:
        UserError: the reference is damaged or not that of the original.
    """
    path = reference_path(weights)
    if not path.exists():
        return None
    reference = read_reference_file(path, weights_checksum(weights))
    return write_reference_file(reference_path(out), reference, weights_checksum(out))
