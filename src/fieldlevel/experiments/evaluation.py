"""A trained network on simulations that it has never seen."""

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import UserError
from fieldlevel.experiments.predictions import Predictions
from fieldlevel.maps.catalogue import Suite, split_simulations
from fieldlevel.parameters import NBODY_PREFIX
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.training.checkpoint import Predictor


def predict_suite(
    predictor: Predictor, suite: Suite, simulations: str = "test", listener: Listener = ignore
) -> Predictions:
    """Posterior moments of the unseen maps of a suite.

    Args:
        predictor: a trained network.
        suite: the maps to test on.
        simulations: `"test"` for the test simulations of the network's split, `"all"` for every one.
        listener: hears of the progress.

    Returns:
        Truths and posterior moments in physical units.

    Raises:
        UserError: the network was trained or validated on one of the simulations, or on maps of another size.
    """
    refuse_misfit(predictor, suite)
    chosen = _chosen(predictor, suite, simulations)
    refuse_seen(predictor, suite, chosen)
    maps = suite.maps_of(chosen)
    of_map = suite.simulation_of_map[maps]
    moments = []
    for done, number in enumerate(chosen, start=1):
        moments.append(predictor.predict(suite.read_simulation(int(number))))
        listener(Progress(f"test on {suite.suite}", done, len(chosen), "simulations"))
    mean, std = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    return Predictions(theta=suite.parameters[of_map], mean=mean, std=std, simulation=of_map, map_index=maps)


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

    A twin has the same initial conditions and labels, so it is no independent test.

    Raises:
        UserError: at least one simulation was seen.
    """
    spec = predictor.spec
    same = suite.suite.removeprefix(NBODY_PREFIX) == spec.suite.removeprefix(NBODY_PREFIX)
    if not same or suite.set_name != spec.set_name:
        return
    known = np.concatenate([predictor.training_simulations, predictor.validation_simulations])
    seen = np.intersect1d(simulations, known)
    if len(seen):
        raise UserError(
            f"{suite.suite} {suite.set_name}: the network was trained or validated on {len(seen)} of the "
            f"{len(simulations)} simulations asked for (first: {seen[0]}); test on simulations of its test set"
        )
