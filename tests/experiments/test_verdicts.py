import numpy as np
import pytest

from fieldlevel.experiments.mean_only import MeanOnly
from fieldlevel.experiments.metrics import PairResult, Predictions, evaluate
from fieldlevel.experiments.verdicts import judge
from fieldlevel.parameters import MAXIMA, MINIMA


def result(train: str, test: str, error: float, bias: float = 0.0, blind: bool = False) -> PairResult:
    """A network with an error and a bias in units of the range of each parameter; a blind one answers the middle."""
    random = np.random.default_rng([len(train), len(test), int(1000 * error)])
    simulation = np.repeat(np.arange(40), 15)
    theta = random.uniform(MINIMA, MAXIMA, (40, 6))[simulation]
    mean = theta + (MAXIMA - MINIMA) * (bias + error * random.standard_normal(theta.shape))
    mean = np.broadcast_to((MINIMA + MAXIMA) / 2, theta.shape) if blind else mean
    std = np.broadcast_to((MAXIMA - MINIMA) * error, theta.shape)
    predictions = Predictions(theta, mean, std, simulation, np.arange(600))
    return PairResult(train, test, predictions, evaluate(predictions, n_bootstrap=100))


def letter(**changes: list[PairResult]) -> dict[str, list[PairResult]]:
    """What the letter found."""
    good = [result("A", "A", 0.02), result("A", "B", 0.021), result("B", "B", 0.02), result("B", "A", 0.02)]
    blind = [result("A", "A", 0.3, blind=True), result("B", "B", 0.3, blind=True)]
    experiments = {
        "four pairs": good,
        "mean map": blind,
        "shuffled pixels": blind,
        "random phases": blind,
        "no monopole": [result("A", "A", 0.05), result("B", "B", 0.05)],
        "power spectrum": [result("A", "A", 0.2), result("B", "B", 0.2)],
        "hydro to N-body": [result("A", "Nbody_A", 0.03, bias=0.1), result("B", "Nbody_B", 0.03, bias=-0.1)],
        "smoothing 1 px": [result("A", "A", 0.03), result("B", "B", 0.03)],
        "smoothing 2 px": [result("A", "A", 0.05), result("B", "B", 0.05)],
        "permuted labels": blind,
    }
    return experiments | {name.replace("_", " "): results for name, results in changes.items()}


def verdicts(experiments: dict[str, list[PairResult]]) -> dict[str, bool]:
    poor = result("A", "A", 0.2)
    mean_only = {suite: MeanOnly(np.ones(600), poor.predictions, poor.scores, np.zeros(6)) for suite in "AB"}
    return {verdict.experiment: verdict.holds for verdict in judge(experiments, mean_only)}


def test_all_verdicts_hold_for_what_the_letter_found():
    found = verdicts(letter())
    assert set(found) == {*(set(letter()) - {"smoothing 1 px", "smoothing 2 px"}), "smoothing", "mean of the map alone"}
    assert all(found.values())


@pytest.mark.parametrize(
    ("experiment", "results"),
    [
        (
            "four pairs",
            [result("A", "A", 0.02), result("A", "B", 0.08), result("B", "B", 0.02), result("B", "A", 0.02)],
        ),
        ("mean map", [result("A", "A", 0.02), result("B", "B", 0.3, blind=True)]),
        ("shuffled pixels", [result("A", "A", 0.05), result("B", "B", 0.05)]),
        ("random phases", [result("A", "A", 0.02), result("B", "B", 0.02)]),
        ("no monopole", [result("A", "A", 0.3, blind=True), result("B", "B", 0.02)]),
        ("power spectrum", [result("A", "A", 0.2), result("B", "B", 0.02)]),
        ("hydro to N-body", [result("A", "Nbody_A", 0.02), result("B", "Nbody_B", 0.02, bias=0.1)]),
        ("permuted labels", [result("A", "A", 0.02), result("B", "B", 0.02)]),
    ],
)
def test_each_verdict_fails_by_itself(experiment, results):
    found = verdicts(letter() | {experiment: results})
    assert not found.pop(experiment)
    others = {name: holds for name, holds in found.items() if experiment != "four pairs"}
    assert all(others.values())


def test_smoothing_that_helps_is_a_failure():
    changed = letter() | {"smoothing 2 px": [result("A", "A", 0.01), result("B", "B", 0.05)]}
    assert not verdicts(changed)["smoothing"]


def test_what_was_not_done_is_not_judged():
    assert set(verdicts({"four pairs": letter()["four pairs"]})) == {"four pairs", "mean of the map alone"}
