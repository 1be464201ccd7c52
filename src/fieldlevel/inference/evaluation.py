"""A trained network on simulations that it has never seen."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.outputs import truths_of
from fieldlevel.data.read_ahead import read_ahead
from fieldlevel.data.seen import seen_digests, simulation_digests, split_digests
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError, shown
from fieldlevel.inference.map_reader import MOST_AT_ONCE, simulations_at_once
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.trust.judging import Judging, Trust
from fieldlevel.inference.trust.trust_reference import Reference
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.suites import is_mock, is_nbody

WHICH = Literal["test", "all", "unseen"]
"""Simulations of a suite, in a word."""
_SAME_REDSHIFT = 5e-3


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What a network says of the maps of a suite, from one pass.

    Attributes:
        predictions: its answers beside the truth.
        samples: of joint posteriors in units of the prior, (S, n, P); None where marginals alone are known.
        trust: whether the maps are like those of its training.
    """

    predictions: Predictions
    samples: FloatArray | None
    trust: Trust


def predict_suite(
    predictor: Predictor,
    suite: Suite,
    simulations: str | Sequence[int] = "test",
    listener: Listener = ignore,
    *,
    anyway: bool = False,
) -> Predictions:
    """Posterior moments of the unseen maps of a suite.

    Maps of a suite that is transformed on purpose, as in null tests, may lie far from those of the training.

    Args:
        predictor: a trained network.
        suite: the maps to test on.
        simulations: `"test"` for the test simulations of the network's split, `"all"` for every one, `"unseen"` for
            all that `refuse_seen` would not refuse for their numbers or parameters; or their numbers.
        listener: hears of the progress.
        anyway: also test on maps that seem to be in another unit than those of the training.

    Returns:
        Truths and posterior moments in physical units, a column an output. The truth of an output is the parameter of
        its name, NaN where the suite has none or the output belongs to another suite.

    Raises:
        UserError: the network was trained or validated on one of the simulations, or on all of the unseen ones, or on
            maps of another size, slab or unit.
    """
    chosen, moments, n_done = _allowed(predictor, suite, simulations, anyway=anyway), [], 0
    takes_all = _takes_all(suite, anyway=anyway)
    for together, maps in read_ahead([*simulations_at_once(predictor, suite, chosen)], suite.read_simulations):
        with _naming(predictor, suite, together, anyway=takes_all):
            moments.append(predictor.predict(maps, anyway=takes_all))
        n_done += len(together)
        listener(Progress(f"test on {suite.suite}", n_done, len(chosen), "simulations"))
    return _beside_truths(predictor, suite, chosen, moments)


def evaluate_suite(
    predictor: Predictor,
    suite: Suite,
    simulations: str | Sequence[int] = "test",
    listener: Listener = ignore,
    *,
    anyway: bool = False,
    n_samples: int = 500,
    reference: Reference | None = None,
) -> Evaluated:
    """The same, with samples of joint posteriors, and maps compared with those of the training; one pass for all.

    Args:
        predictor: as of `predict_suite`.
        suite: as of `predict_suite`.
        simulations: as of `predict_suite`.
        listener: hears of the progress.
        anyway: as of `predict_suite`.
        n_samples: S, of each map.
        reference: of the network, to compare with; nothing is known of the maps when None.

    Raises:
        UserError: as `predict_suite`.
    """
    chosen, judging = _allowed(predictor, suite, simulations, anyway=anyway), Judging(predictor, reference)
    moments, samples, has_density = [], [], getattr(predictor.network.head, "density", None) is not None
    n_done, takes_all = 0, _takes_all(suite, anyway=anyway)
    most = suite.layout.n_maps if has_density else MOST_AT_ONCE
    for together, maps in read_ahead([*simulations_at_once(predictor, suite, chosen, most)], suite.read_simulations):
        of_map = np.repeat(together, suite.layout.n_maps)
        with _naming(predictor, suite, together, anyway=takes_all):
            density, each = predictor.read(maps, of_map, judging, anyway=takes_all)
        moments.append(each)
        if has_density:
            samples.append(density.sample(n_samples, seed=int(together[0])).numpy())
        n_done += len(together)
        listener(Progress(f"test on {suite.suite}", n_done, len(chosen), "simulations"))
    predictions = _beside_truths(predictor, suite, chosen, moments)
    return Evaluated(predictions, np.concatenate(samples, axis=1) if samples else None, judging.verdict())


def _allowed(
    predictor: Predictor, suite: Suite, simulations: str | Sequence[int], *, anyway: bool
) -> npt.NDArray[np.int64]:
    """Numbers of the simulations that are asked for, unless they cannot be tested on."""
    refuse_misfit(predictor, suite)
    if not anyway:
        _refuse_other_kind(predictor, suite)
    chosen = _chosen(predictor, suite, simulations)
    refuse_seen(predictor, suite, chosen)
    return chosen


def _takes_all(suite: Suite, *, anyway: bool) -> bool:
    return anyway or suite.transform.kind != "none"


@contextmanager
def _naming(predictor: Predictor, suite: Suite, together: IntArray, *, anyway: bool) -> Iterator[None]:
    """Say of which of some simulations that were read together an error is."""
    try:
        yield
    except UserError:
        for number in map(int, together):
            try:
                predictor.predict(suite.read_simulation(number), anyway=anyway)
            except UserError as trouble:
                raise UserError(f"{suite.files.maps_path}: simulation {number}, {trouble}") from None
        raise


def _beside_truths(
    predictor: Predictor,
    suite: Suite,
    chosen: npt.NDArray[np.int64],
    moments: Sequence[tuple[FloatArray, FloatArray]],
) -> Predictions:
    mean, std = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    maps = suite.maps_of(chosen)
    of_map = suite.simulation_of_map[maps]
    theta = truths_of(predictor.layout, suite.suite, suite.layout, suite.parameters)[of_map]
    layout = replace(suite.layout, parameters=predictor.layout.parameters)
    return Predictions(theta, mean, std, simulation=of_map, map_index=maps, layout=layout)


def refuse_misfit(predictor: Predictor, suite: Suite) -> None:
    """Refuse maps of another field, size, slab or box than the network was trained on.

    Raises:
        UserError: with those of both.
    """
    ours, theirs = predictor.layout, suite.layout
    differ = not ours.has_same_slabs(theirs)
    trained = _in_words(predictor.spec.field, predictor.n_pixels, ours, with_slab=differ)
    tested = _in_words(suite.field, suite.n_pixels, theirs, with_slab=differ)
    if trained != tested:
        raise UserError(f"{suite.suite}: {tested}, but the network was trained on {trained}")


def _refuse_other_kind(predictor: Predictor, suite: Suite) -> None:
    """Refuse maps whose folder says that they are in another unit or at another redshift than those of the training."""
    ours, theirs = predictor.layout.redshift, suite.layout.redshift
    if not math.isclose(ours, theirs, abs_tol=_SAME_REDSHIFT):
        told = f"maps at z = {theirs:g}, but the network was trained on maps at z = {ours:g}"
        raise UserError(f"{suite.suite}: {told}; give maps at that, or --anyway")
    trained, tested = predictor.layout.unit(predictor.spec.field), suite.layout.unit(suite.field)
    if trained and tested and trained != tested:
        told = f"{suite.field} in {shown(tested)}, but the network was trained on maps in {shown(trained)}"
        raise UserError(f"{suite.suite}: {told}; give maps in that, or --anyway")


def _in_words(field: str, n_pixels: int, layout: Layout, *, with_slab: bool) -> str:
    box, thickness = layout.box_size_mpc_h, layout.slab_thickness_mpc_h
    slab = f", slabs of {thickness!r} Mpc/h of a box of {box!r} Mpc/h" if with_slab else ""
    return f"{field} maps of {n_pixels} pixels a side{slab}"


def _chosen(predictor: Predictor, suite: Suite, simulations: str | Sequence[int]) -> npt.NDArray[np.int64]:
    if not isinstance(simulations, str):
        return np.unique(np.asarray(simulations, dtype=np.int64))
    if simulations == "all":
        return np.arange(suite.n_simulations)
    if simulations == "unseen":
        return _unseen(predictor, suite)
    return np.sort(predictor.spec.split.divide(suite.n_simulations).test)


def _unseen(predictor: Predictor, suite: Suite) -> npt.NDArray[np.int64]:
    every = np.arange(suite.n_simulations)
    seen = np.concatenate([every[:0], *(numbers for _, numbers in _seen_of(predictor, suite, every))])
    unseen = np.setdiff1d(every, seen)
    if len(unseen) == 0:
        told = f"{suite.suite} {suite.set_name}: the network was trained or validated on all of its simulations"
        raise UserError(f"{told} or their like; test on others")
    return unseen


def refuse_seen(predictor: Predictor, suite: Suite, simulations: npt.NDArray[np.int64]) -> None:
    """Refuse simulations that the network has seen, labelled or not, or was calibrated with; their twins and siblings.

    Gravity-only and hydrodynamic twins have the same initial conditions and labels, siblings of another suite or set
    the same initial conditions, so they are no independent test. Simulations that go by another name, number or order
    are known by their parameters and maps, if the weights file has those that were seen; mock ones by their cosmology,
    which all mock suites share.

    Raises:
        UserError: at least one simulation was seen.
    """
    for told, seen in _seen_of(predictor, suite, simulations):
        _refuse_some(suite, simulations, seen, told)
    _refuse_seen_maps(predictor, suite, simulations)


def _seen_of(
    predictor: Predictor, suite: Suite, simulations: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Those of some simulations that were seen, as their numbers and parameters tell, and how that is known."""
    for source in predictor.seen_sources:
        known = np.intersect1d(simulations, source.numbers).astype(np.int64)
        if source.is_twin(suite):
            yield "", known
        if source.is_sibling(suite):
            yield f", as those of {source.suite} {source.set_name} have the same initial conditions", known
    for source in predictor.seen_sources:
        if source.seen is not None:
            are_mocks = suite.is_mock and is_mock(source.suite)
            cosmology_only = are_mocks or is_nbody(suite.suite) or is_nbody(source.suite)
            has_rows = source.seen.has_rows(suite.parameters, suite.layout, cosmology_only=cosmology_only)
            yield ", as their parameters tell", simulations[has_rows[simulations]]


def _refuse_seen_maps(predictor: Predictor, suite: Suite, simulations: npt.NDArray[np.int64]) -> None:
    if known := seen_digests(predictor.seen_sources):
        digests = simulation_digests(suite, simulations)
        has_maps = [not known.isdisjoint(split_digests(each)) for each in digests]
        _refuse_some(suite, simulations, simulations[has_maps], ", as their maps tell")


def _refuse_some(suite: Suite, asked: npt.NDArray[np.int64], seen: npt.NDArray[np.int64], told: str) -> None:
    if len(seen):
        raise UserError(
            f"{suite.suite} {suite.set_name}: the network was trained or validated on {len(seen)} of the "
            f"{len(asked)} simulations asked for{told} (first: {seen[0]}); take those of its test set or another set"
        )
