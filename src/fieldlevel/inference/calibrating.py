"""Calibrating a network on simulations that it was neither trained nor chosen with, never on test simulations."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.data.outputs import truths_of
from fieldlevel.data.read_ahead import read_ahead
from fieldlevel.data.seen import SeenSource, record_seen
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.errors import UserError
from fieldlevel.files import make_place_for
from fieldlevel.inference.calibration import (
    Calibration,
    calibration_path,
    find_calibration,
    forget_calibration,
    read_calibration,
    write_calibration,
)
from fieldlevel.inference.evaluation import refuse_misfit, refuse_seen
from fieldlevel.inference.map_reader import simulations_at_once
from fieldlevel.inference.packaged import FOLDER, find_weights
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.transfer_errors import Answers, Origin, TransferErrors, fit_tau
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.statistics.rescaling import LEAST_SIMULATIONS, Rescaling, fit_rescaling
from fieldlevel.suites import are_twins, is_nbody
from fieldlevel.training.weights_file import read_weights_file

Simulations = npt.NDArray[np.int64]


def calibrate_trained(
    weights: Path, directory: str | Path, device: str = "auto", listener: Listener = ignore
) -> Path | None:
    """Calibrate a network that was just trained, on the calibration simulations of its split, unless that is done.

    Args:
        weights: its file; a calibration of another network beside it is taken away.
        directory: folder of the maps that it was trained on.
        device: where it predicts.
        listener: hears of the progress.

    Returns:
        The file beside the weights; None where its spec asks for no calibration.

    Raises:
        DataError: a folder that cannot be used.
        UserError: fewer simulations than a calibration takes.
    """
    known = read_weights_file(weights)
    if (path := find_calibration(weights)) is not None:
        try:
            if read_calibration(weights, known.checksum, known.layout.names) is not None:
                return path
        except UserError:
            forget_calibration(weights)
    own = [source for source in known.sources if source.calibration]
    if known.spec.calibration == "none" or not own:
        return None
    predictor = load(weights, device)
    joined = _own_answers(predictor, directory, [(each, each.calibration) for each in own], listener)
    fitted_on = (*dict.fromkeys(each.suite for each in own), own[0].set_name)
    return write_calibration(weights, _fitted(predictor, joined, fitted_on))


def calibrate(
    weights: str | Path,
    directory: str | Path,
    suite: str = "",
    set_name: str = "LH",
    *,
    transfer: Sequence[str] = (),
    without: Sequence[str | Path] = (),
    device: str = "auto",
    listener: Listener = ignore,
    verbose: bool = False,
) -> Calibration:
    """Calibrate a network on other simulations than those of its training, and measure its errors on other suites.

    All simulations of a set that the network knows nothing of are taken; in the set of its own training, of which the
    rest is for tests, those of other suites that have the numbers of its calibration simulations, or of its validation
    simulations where it has none: as its file tells them where simulations of one number have the same initial
    conditions, else those of its split. All of them count as seen from then on.

    Args:
        weights: file of the network, beside which `<stem>.calibration.json` is written.
        directory: folder of CMD-format files.
        suite: to fit the rescaling on, one that the network was trained on; without one that of before stays.
        set_name: of the simulations, also of those of `transfer` and `without`.
        transfer: suites that the network was not trained on, or its gravity-only twin, to measure what standard
            deviations grow by there (`inference.transfer_errors`).
        without: in the place of `transfer`, networks that were trained on all its sources but one: each is tested on
            the one that it lacks.
        device: where networks predict.
        listener: hears of the progress.
        verbose: whether to show the progress, too.

    Returns:
        What was written.

    Raises:
        DataError: a folder that cannot be used.
        UserError: simulations that the network has seen, a suite that it was not trained on in the place of one that
            it was, or the other way round, maps that are not like those of its training, or nothing to do.

    Example:
        `fieldlevel.calibrate("network/weights.safetensors", "cmd", "MockTNG", "LHtest", transfer=["Nbody_Mock"])`
    """
    path = _refuse_packaged(weights)
    predictor = load(path, device)
    if not suite and not transfer and not without:
        raise UserError("calibrate: nothing to do; give --suite to calibrate on, or --transfer")
    if transfer and without:
        raise UserError("calibrate: --transfer and --without: give one of them")
    make_place_for(calibration_path(path), path)
    with telling(listener, verbose) as told:
        calibration = _calibrated_on(predictor, directory, suite, set_name, told) if suite else _known(predictor)
        predictor = replace(predictor, calibration=calibration)
        if transfer or without:
            pairs = _left_out(predictor, without, device) if without else [(predictor, each) for each in transfer]
            calibration = _with_transfer(predictor, directory, set_name, pairs, bool(without), told)
    write_calibration(path, calibration)
    return calibration


def _refuse_packaged(weights: str | Path) -> Path:
    path = find_weights(weights)
    if path.parent == FOLDER:
        told = "comes with the package, which is not to be changed"
        raise UserError(f"{weights}: {told}; copy it with `fieldlevel shrink {path.stem} {path.name}` first")
    return path


def _known(predictor: Predictor) -> Calibration:
    """The calibration of a network, or an empty one."""
    names = predictor.layout.names
    return predictor.calibration or Calibration(predictor.checksum, names, Rescaling.none(len(names)), (), 0)


def _open(predictor: Predictor, directory: str | Path, suite: str, set_name: str) -> Suite:
    opened = open_suite(directory, suite, predictor.spec.field, set_name, check=False)
    refuse_misfit(predictor, opened)
    return opened


def _answers(predictor: Predictor, suite: Suite, simulations: Simulations, listener: Listener) -> Answers:
    """Answers for all maps of some simulations, which need not be unseen, in units of the prior."""
    layout, moments = predictor.layout, []
    suite = suite.blurred(predictor.spec.blur, predictor.spec.seed)
    n_done = 0
    for together, maps in read_ahead([*simulations_at_once(predictor, suite, simulations)], suite.read_simulations):
        moments.append(predictor.predict(maps, anyway=True))
        n_done += len(together)
        listener(Progress(f"calibrate on {suite.suite}", n_done, len(simulations), "simulations"))
    mean, std = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    of_map = suite.simulation_of_map[suite.maps_of(simulations)]
    theta = truths_of(layout, suite.suite, suite.layout, suite.parameters)[of_map]
    unit = layout.to_unit_interval
    return Answers(unit(theta), unit(mean), std / (layout.highs - layout.lows), of_map)


def _own_answers(
    predictor: Predictor,
    directory: str | Path,
    own: Sequence[tuple[SeenSource, Sequence[int]]],
    listener: Listener,
) -> Answers:
    """Answers on sources of the training; simulations of one number are one where they share initial conditions."""
    whose = [source.initial_conditions for source, _ in own]
    parts = []
    for place, (source, numbers) in enumerate(own):
        suite = _open(predictor, directory, source.suite, source.set_name)
        answers = _answers(predictor, suite, np.array(numbers), listener)
        first = whose.index(whose[place]) if whose[place] else place
        parts.append(answers._replace(simulation=first * 2**32 + answers.simulation))
    return Answers(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _fitted(predictor: Predictor, answers: Answers, fitted_on: tuple[str, ...]) -> Calibration:
    names, n = predictor.layout.names, len(np.unique(answers.simulation))
    return Calibration(predictor.checksum, names, fit_rescaling(*answers), fitted_on, n)


def _calibrated_on(
    predictor: Predictor, directory: str | Path, name: str, set_name: str, listener: Listener
) -> Calibration:
    """Fitted on all simulations of a set; errors on other suites have to be measured again."""
    _refuse_other_suite(predictor, name)
    suite = open_suite(directory, name, predictor.spec.field, set_name, listener=listener)
    refuse_misfit(predictor, suite)
    every = np.arange(suite.n_simulations)
    refuse_seen(predictor, suite, every)
    answers = _answers(replace(predictor, calibration=None), suite, every, listener)
    before = () if predictor.calibration is None else predictor.calibration.sources
    fitted = _fitted(predictor, answers, (name, set_name))
    return replace(fitted, sources=(*before, _seen(suite, every, listener)))


def _refuse_other_suite(predictor: Predictor, name: str) -> None:
    """Refuse to take the errors on another suite, whose feedback means another thing, for those on the own one."""
    own = [source.suite for source in predictor.spec.all_sources if source.labelled]
    if name not in own:
        told = f"the network was not trained on its parameters; calibrate on {' or '.join(dict.fromkeys(own))}"
        raise UserError(f"{name}: {told}, and measure its errors on other suites with --transfer")


def _seen(suite: Suite, simulations: Simulations, listener: Listener) -> SeenSource:
    known, whose = record_seen(suite, simulations, listener), suite.layout.initial_conditions
    numbers = tuple(map(int, simulations))
    return SeenSource(suite.suite, suite.set_name, True, whose, (), (), known, suite.made_from, numbers)


def _left_out(predictor: Predictor, weights: Sequence[str | Path], device: str) -> list[tuple[Predictor, str]]:
    """Networks, each with the source of the whole one that it was not trained on."""
    own = [source.suite for source in predictor.spec.all_sources if source.labelled]
    pairs = []
    for path in weights:
        other = load(path, device)
        lacks = [suite for suite in own if suite not in {source.suite for source in other.spec.all_sources}]
        if len(lacks) != 1:
            told = f"trained on {', '.join(source.suite for source in other.spec.all_sources)}"
            raise UserError(f"{path}: {told}; give networks that lack one of {', '.join(own)}")
        pairs.append((other, lacks[0]))
    return pairs


def _with_transfer(
    predictor: Predictor,
    directory: str | Path,
    set_name: str,
    pairs: Sequence[tuple[Predictor, str]],
    leaves_out: bool,
    listener: Listener,
) -> Calibration:
    calibration = _known(predictor)
    own = {source.suite for source in predictor.spec.all_sources}
    answers, sources = [], list(calibration.sources)
    for network, name in pairs:
        suite = _open(predictor, directory, name, set_name)
        if name in own and not leaves_out:
            raise UserError(f"{name}: the network was trained on it; give suites that it has not seen with --transfer")
        simulations = _of_other_suite(network, suite)
        told = _answers(network, suite, simulations, listener)
        answers.append(_in_outputs_of(predictor.layout, network.layout, told))
        sources.append(_seen(suite, simulations, listener))
    sources = [each for number, each in enumerate(sources) if each not in sources[:number]]
    widening = _widening(predictor, directory, listener)
    names = tuple(dict.fromkeys(name for _, name in pairs))
    errors = TransferErrors(_origin(predictor, names, leaves_out), names, widening, fit_tau(answers, widening))
    return replace(calibration, sources=tuple(sources), transfer=errors)


def _origin(predictor: Predictor, names: Sequence[str], leaves_out: bool) -> Origin:
    own = [source.suite for source in predictor.spec.all_sources]
    if leaves_out:
        return "leave one out"
    are_all_twins = all(is_nbody(name) and any(are_twins(name, each) for each in own) for name in names)
    return "twin" if are_all_twins else "other suites"


def _of_other_suite(predictor: Predictor, suite: Suite) -> Simulations:
    """Simulations that are no test of the network: in the set of its training those of its calibration.

    It may have been calibrated with them or their siblings, but not trained on them.
    """
    if suite.set_name not in {source.set_name for source in predictor.spec.all_sources}:
        every = np.arange(suite.n_simulations)
        refuse_seen(replace(predictor, calibration=None), suite, every)
        return every
    kin = [source for source in predictor.sources if source.is_twin(suite) or source.is_sibling(suite)]
    if not kin:
        split = predictor.spec.split.divide(suite.n_simulations)
        return split.calibration if len(split.calibration) else split.validation
    known = [each.calibration for each in kin if each.calibration] or [each.validation for each in kin]
    trained = {number for each in kin for number in each.training}
    numbers = [each for each in dict.fromkeys(chain(*known)) if each < suite.n_simulations and each not in trained]
    if not numbers:
        told = f"none of its {suite.n_simulations} simulations is one that the network was calibrated or validated with"
        raise UserError(f"{suite.suite} {suite.set_name}: {told}; give as many as it was trained with, or another set")
    return np.array(numbers, dtype=np.int64)


def _in_outputs_of(layout: Layout, other: Layout, answers: Answers) -> Answers:
    """Cosmological outputs alone, in the columns and priors of a network; feedback means another thing elsewhere."""
    width = layout.highs - layout.lows
    theta, mean, std = (np.full((len(answers.mean), layout.n_parameters), np.nan) for _ in range(3))
    for column, parameter in enumerate(layout.parameters):
        if parameter.cosmological and other.has(parameter.name):
            there = other.column(parameter.name)
            low, high = other.lows[there], other.highs[there]
            for ours, theirs in ((theta, answers.theta), (mean, answers.mean)):
                ours[:, column] = (low + (high - low) * theirs[:, there] - layout.lows[column]) / width[column]
            std[:, column] = answers.std[:, there] * (high - low) / width[column]
    return Answers(theta, mean, std, answers.simulation)


def _widening(predictor: Predictor, directory: str | Path, listener: Listener) -> Rescaling:
    """Lambda: none of a calibrated network, else what its validation simulations ask for, if they are enough."""
    none = Rescaling.none(predictor.layout.n_parameters)
    if predictor.calibration is not None and predictor.calibration.is_fitted:
        return none
    own = [(source, source.validation) for source in predictor.sources if source.validation]
    if sum(len(numbers) for _, numbers in own) < LEAST_SIMULATIONS:
        return none
    return fit_rescaling(*_own_answers(predictor, directory, own, listener))
