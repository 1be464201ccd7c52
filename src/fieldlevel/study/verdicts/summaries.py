"""Whether a network finds in a map what its mean, power spectrum or PDF do not hold."""

from collections.abc import Iterator, Mapping

from fieldlevel.parameters import COSMOLOGICAL_NAMES
from fieldlevel.statistics.pairs import Experiments, PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.mean_only import MeanOnly
from fieldlevel.study.verdicts.outcomes import Finding, Verdict, above, conclude, finding, relative_error

SUMMARIES = {
    "power spectrum": "20% for Omega_m, nothing but the mean for sigma_8",
    "one-point PDF": "not in the letter",
}
"""What networks read instead of the map, and what the letter says of them."""


def judge_summaries(experiments: Experiments, mean_only: Mapping[str, MeanOnly]) -> Iterator[Verdict]:
    """Verdicts on the predictors from the mean alone and on `SUMMARIES`, beside the networks of the four pairs."""
    networks = on_own_suite(experiments["four pairs"])
    scatters = "total mass scatters too much to tell Omega_m"
    yield from _worse_than_network(networks, mean_only, "mean of the map alone", scatters)
    for name, letter in SUMMARIES.items():
        yield from _worse_than_network(networks, on_own_suite(experiments.get(name, ())), name, letter)


def _worse_than_network(
    networks: Mapping[str, PairResult], predictors: Mapping[str, PairResult | MeanOnly], name: str, letter: str
) -> Iterator[Verdict]:
    findings: dict[str, Finding] = {}
    for suite, predictor in predictors.items():
        network = networks[suite]
        ratios = error_ratio(network.predictions, predictor.predictions)
        for parameter in COSMOLOGICAL_NAMES:
            theirs, ours = relative_error(predictor.scores, parameter), relative_error(network.scores, parameter)
            text = f"{theirs}, network {ours}, RMSE ratio {ratios[parameter].interval()}"
            findings[f"{suite} {parameter}"] = finding(text, above(ratios[parameter], 1))
    return conclude(
        name,
        f"The network finds what the {name} does not hold.",
        "RMSE above that of the network beyond the error of their ratio, for Omega_m and sigma_8",
        letter,
        findings,
    )
