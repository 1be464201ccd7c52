"""A trained network on simulations that it has never seen."""

import numpy as np
import numpy.typing as npt

from fieldlevel.data.suite import Suite, split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.inference.predictor import Predictor
from fieldlevel.parameters import FloatArray, hydro_twin, is_nbody
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.statistics.predictions import Predictions


def predict_suite(
    predictor: Predictor,
    suite: Suite,
    simulations: str = "test",
    listener: Listener = ignore,
    *,
    anyway: bool = False,
) -> Predictions:
    """Posterior moments of the unseen maps of a suite.

    Maps of a suite that is transformed on purpose, as in null tests, may lie far from those of the training.

    Args:
        predictor: a trained network.
        suite: the maps to test on.
        simulations: `"test"` for the test simulations of the network's split, `"all"` for every one.
        listener: hears of the progress.
        anyway: also test on maps that seem to be in another unit than those of the training.

    Returns:
        Truths and posterior moments in physical units.

    Raises:
        UserError: the network was trained or validated on one of the simulations, or on maps of another size or unit.
    """
    refuse_misfit(predictor, suite)
    chosen = _chosen(predictor, suite, simulations)
    refuse_seen(predictor, suite, chosen)
    maps = suite.maps_of(chosen)
    of_map = suite.simulation_of_map[maps]
    moments = []
    takes_all = anyway or suite.transform.kind != "none"
    for done, number in enumerate(chosen, start=1):
        moments.append(_predict_simulation(predictor, suite, int(number), anyway=takes_all))
        listener(Progress(f"test on {suite.suite}", done, len(chosen), "simulations"))
    mean, std = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    return Predictions(theta=suite.parameters[of_map], mean=mean, std=std, simulation=of_map, map_index=maps)


def _predict_simulation(
    predictor: Predictor, suite: Suite, number: int, *, anyway: bool
) -> tuple[FloatArray, FloatArray]:
    try:
        return predictor.predict(suite.read_simulation(number), anyway=anyway)
    except UserError as trouble:
        raise UserError(f"{suite.files.maps_path}: simulation {number}, {trouble}") from None


def refuse_misfit(predictor: Predictor, suite: Suite) -> None:
    """Refuse maps of another field or another size than the network was trained on.

    Raises:
        UserError: with both sizes or both fields.
    """
    ours = f"{predictor.spec.field} maps of {predictor.n_pixels} pixels a side"
    theirs = f"{suite.field} maps of {suite.n_pixels} pixels a side"
    if ours != theirs:
        raise UserError(f"{suite.suite}: {theirs}, but the network was trained on {ours}")


def _chosen(predictor: Predictor, suite: Suite, simulations: str) -> npt.NDArray[np.int64]:
    if simulations == "all":
        return np.arange(suite.n_simulations)
    split = predictor.spec.split
    test = split_simulations(suite.n_simulations, split.seed, split.train, split.validation).test
    return np.sort(test)


def refuse_seen(predictor: Predictor, suite: Suite, simulations: npt.NDArray[np.int64]) -> None:
    """Refuse simulations that the network was trained or validated on, and their gravity-only or hydrodynamic twins.

    A twin has the same initial conditions and labels, so it is no independent test. Simulations that go by another
    name, number or order are known by their parameters and maps, if the weights file has those that were seen.

    Raises:
        UserError: at least one simulation was seen.
    """
    spec = predictor.spec
    is_twin = hydro_twin(suite.suite) == hydro_twin(spec.suite) and suite.set_name == spec.set_name
    known = np.concatenate([predictor.training_simulations, predictor.validation_simulations])
    by_number = np.intersect1d(simulations, known) if is_twin else simulations[:0]
    _refuse_some(suite, simulations, by_number, "")
    if (seen := predictor.seen) is None:
        return
    cosmology_only = is_nbody(suite.suite) or is_nbody(spec.suite)
    has_rows = seen.has_rows(suite.parameters, cosmology_only=cosmology_only)
    _refuse_some(suite, simulations, simulations[has_rows[simulations]], ", as their parameters tell")
    raw = suite.transformed(TransformSpec())
    has_maps = [bool(seen.has_maps(raw.read_simulation(int(number))).any()) for number in simulations]
    _refuse_some(suite, simulations, simulations[has_maps], ", as their maps tell")


def _refuse_some(suite: Suite, asked: npt.NDArray[np.int64], seen: npt.NDArray[np.int64], told: str) -> None:
    if len(seen):
        raise UserError(
            f"{suite.suite} {suite.set_name}: the network was trained or validated on {len(seen)} of the "
            f"{len(asked)} simulations asked for{told} (first: {seen[0]}); test on simulations of its test set"
        )
