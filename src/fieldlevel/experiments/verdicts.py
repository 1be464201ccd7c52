"""What each experiment of the letter claims, what came out, and whether it holds.

Every criterion is written down before the numbers are known and stands in the report beside them. An error is that of
the bootstrap over simulations; "beyond the errors" means by more than two of them.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fieldlevel.experiments.mean_only import MeanOnly
from fieldlevel.experiments.metrics import Estimate, PairResult, Scores, transfer_ratio
from fieldlevel.parameters import PARAMETERS

COSMOLOGICAL = tuple(p.name for p in PARAMETERS if p.cosmological)
SIGNIFICANCE = 2.0
"""Errors by which a number must differ to be called different."""

NO_INFERENCE_R2 = 0.1
"""Below this R² nothing is inferred."""

ROBUST_RATIO = 1.25
"""A network counts as robust where its error on the other suite is at most so many times that on its own."""

Experiments = Mapping[str, Sequence[PairResult]]


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it.

    Attributes:
        experiment: its name.
        claim: what should be true, in one sentence.
        criterion: what is compared with what.
        measured: the numbers with their errors.
        letter: what the letter found.
        holds: whether the criterion is met.
    """

    experiment: str
    claim: str
    criterion: str
    measured: str
    letter: str
    holds: bool


def judge(experiments: Experiments, mean_only: Mapping[str, MeanOnly]) -> list[Verdict]:
    """A verdict on every experiment that was done.

    Args:
        experiments: results by name, those of one seed.
        mean_only: the predictors that know the mean of a map alone, by suite.
    """
    judges: list[Callable[[], Iterator[Verdict]]] = [
        lambda: _robustness(experiments["four pairs"]),
        lambda: _destroyed(experiments),
        lambda: _random_phases(experiments),
        lambda: _no_monopole(experiments),
        lambda: _permuted(experiments.get("permuted labels", ())),
        lambda: _worse_than_network(experiments, {s: m.scores for s, m in mean_only.items()}, "mean of the map alone"),
        lambda: _worse_than_network(experiments, _own_scores(experiments, "power spectrum"), "power spectrum"),
        lambda: _worse_than_network(experiments, _own_scores(experiments, "one-point PDF"), "one-point PDF"),
        lambda: _gravity_only(experiments),
        lambda: _scales(experiments),
    ]
    return [verdict for find in judges for verdict in find()]


def _own(results: Sequence[PairResult]) -> dict[str, PairResult]:
    """Those of networks tested on their own suite, by suite."""
    return {result.train_suite: result for result in results if not result.crosses_suites}


def _own_scores(experiments: Experiments, name: str) -> dict[str, Scores]:
    return {suite: result.scores for suite, result in _own(experiments.get(name, ())).items()}


def _listed(numbers: Mapping[str, str]) -> str:
    return "; ".join(f"{what}: {number}" for what, number in numbers.items())


def _robustness(pairs: Sequence[PairResult]) -> Iterator[Verdict]:
    own = _own(pairs)
    ratios: dict[str, Estimate] = {}
    for pair in pairs:
        if pair.crosses_suites:
            found = transfer_ratio(own[pair.train_suite].predictions, pair.predictions)
            ratios |= {f"{pair.name} {name}": found[name] for name in COSMOLOGICAL}
    if ratios:
        yield Verdict(
            experiment="four pairs",
            claim="A network infers Omega_m and sigma_8 as well from the suite that it has never seen as from its own.",
            criterion=f"RMSE on the other suite over RMSE on the own one at most {ROBUST_RATIO}, within the errors",
            measured=_listed({name: ratio.text() for name, ratio in ratios.items()}),
            letter="3.4% and 2.4% on IllustrisTNG become 3.9% and 2.6% on SIMBA; 4.5% and 2.7% on SIMBA, 4.3% and 2.7%",
            holds=all(r.value - SIGNIFICANCE * r.error <= ROBUST_RATIO for r in ratios.values()),
        )


def _destroyed(experiments: Experiments) -> Iterator[Verdict]:
    for name, what in (("mean map", "its mean in every pixel"), ("shuffled pixels", "its pixels in random order")):
        results = _own(experiments.get(name, ()))
        r2 = {suite: result.scores["Omega_m"]["r2"] for suite, result in results.items()}
        if r2:
            yield Verdict(
                experiment=name,
                claim=f"Given {what} instead of a map, the network infers nothing.",
                criterion=f"R² of Omega_m below {NO_INFERENCE_R2}",
                measured=_listed({suite: f"R² = {value.text()}" for suite, value in r2.items()}),
                letter="nothing is inferred",
                holds=all(value.value < NO_INFERENCE_R2 for value in r2.values()),
            )


def _ratios(experiments: Experiments, name: str) -> dict[str, Estimate]:
    """RMSE over that on the untouched maps, by suite and cosmological parameter."""
    whole = _own(experiments["four pairs"])
    found = {
        suite: transfer_ratio(whole[suite].predictions, result.predictions)
        for suite, result in _own(experiments.get(name, ())).items()
    }
    return {f"{suite} {parameter}": found[suite][parameter] for suite in found for parameter in COSMOLOGICAL}


def _random_phases(experiments: Experiments) -> Iterator[Verdict]:
    ratios = _ratios(experiments, "random phases")
    if ratios:
        yield Verdict(
            experiment="random phases",
            claim="The network reads more than the power spectrum: with random phases it fails.",
            criterion="RMSE at least twice that on the maps themselves, for Omega_m and sigma_8",
            measured=_listed({what: f"ratio {ratio.text()}" for what, ratio in ratios.items()}),
            letter="not in the letter",
            holds=all(ratio.value >= 2 for ratio in ratios.values()),
        )


def _no_monopole(experiments: Experiments) -> Iterator[Verdict]:
    results = _own(experiments.get("no monopole", ()))
    r2 = {suite: result.scores["Omega_m"]["r2"] for suite, result in results.items()}
    if r2:
        yield Verdict(
            experiment="no monopole",
            claim="The network does not live on the mean of the map: scaled to one mean, maps still tell Omega_m.",
            criterion="R² of Omega_m above 0.5",
            measured=_listed({suite: f"R² = {value.text()}" for suite, value in r2.items()}),
            letter="not in the letter",
            holds=all(value.value > 0.5 for value in r2.values()),
        )


def _permuted(results: Sequence[PairResult]) -> Iterator[Verdict]:
    scores = {suite: result.scores for suite, result in _own(results).items()}
    if scores:
        r2 = {f"{suite} {name}": scores[suite][name]["r2"] for suite in scores for name in COSMOLOGICAL}
        yield Verdict(
            experiment="permuted labels",
            claim="Trained with labels in random order, the network falls back to the prior.",
            criterion=f"R² of Omega_m and sigma_8 below {NO_INFERENCE_R2}",
            measured=_listed({what: f"R² = {value.text()}" for what, value in r2.items()}),
            letter="not in the letter",
            holds=all(value.value < NO_INFERENCE_R2 for value in r2.values()),
        )


_LETTER_ON = {
    "mean of the map alone": "total mass scatters too much to tell Omega_m",
    "power spectrum": "20% for Omega_m, nothing but the mean for sigma_8",
}


def _worse_than_network(experiments: Experiments, scores: Mapping[str, Scores], name: str) -> Iterator[Verdict]:
    whole = _own(experiments["four pairs"])
    if not scores:
        return
    numbers, holds = {}, []
    for suite, own in scores.items():
        for parameter in COSMOLOGICAL:
            theirs, network = own[parameter]["rmse"], whole[suite].scores[parameter]["rmse"]
            numbers[f"{suite} {parameter}"] = f"RMSE {theirs.text()}, network {network.text()}"
            spread = np.hypot(theirs.error, network.error)
            holds.append(bool(theirs.value - network.value > SIGNIFICANCE * spread))
    yield Verdict(
        experiment=name,
        claim=f"The network finds what the {name} does not hold.",
        criterion="RMSE above that of the network beyond the errors, for Omega_m and sigma_8",
        measured=_listed(numbers),
        letter=_LETTER_ON.get(name, "not in the letter"),
        holds=all(holds),
    )


def _gravity_only(experiments: Experiments) -> Iterator[Verdict]:
    own = _own(experiments["four pairs"]) | _own(experiments.get("N-body to hydro", ()))
    for name in ("hydro to N-body", "N-body to hydro"):
        crossed = [result for result in experiments.get(name, ()) if result.crosses_suites]
        if not crossed:
            continue
        numbers, holds = {}, []
        for result in crossed:
            for parameter in COSMOLOGICAL:
                bias = result.scores[parameter]["bias"]
                error = own[result.train_suite].scores[parameter]["rmse"]
                numbers[f"{result.name} {parameter}"] = f"bias {bias.text()}, own error {error.text()}"
                holds.append(abs(bias.value) > error.value)
        yield Verdict(
            experiment=name,
            claim="Baryons cannot be left out: between gravity-only and hydrodynamic maps the network is biased.",
            criterion="for each network the mean bias of Omega_m or sigma_8 exceeds its own-suite RMSE",
            measured=_listed(numbers),
            letter="fails, biased",
            holds=bool(np.reshape(holds, (-1, len(COSMOLOGICAL))).any(1).all()),
        )


def _scales(experiments: Experiments) -> Iterator[Verdict]:
    ladder = ["four pairs", *(name for name in experiments if name.startswith("smoothing"))]
    if len(ladder) == 1:
        return
    numbers, holds = {}, []
    for suite in _own(experiments["four pairs"]):
        errors = [_own(experiments[name])[suite].scores["Omega_m"]["rmse"] for name in ladder]
        numbers[suite] = "RMSE " + ", ".join(error.text() for error in errors)
        falls = [a.value - b.value > SIGNIFICANCE * np.hypot(a.error, b.error) for a, b in pairwise(errors)]
        holds.append(not any(falls) and errors[-1].value > errors[0].value)
    yield Verdict(
        experiment="smoothing",
        claim="Small scales hold information: the more a map is smoothed, the worse Omega_m is known.",
        criterion="RMSE of Omega_m: no step of smoothing lowers it beyond the errors, the last is above the first",
        measured=_listed(numbers),
        letter="3.4% becomes 5.1, 6.8 and 8.8% at 1, 2 and 3 pixels",
        holds=all(holds),
    )
