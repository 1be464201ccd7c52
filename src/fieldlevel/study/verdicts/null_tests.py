"""Whether networks fail where the information is taken from them: destroyed maps and permuted labels.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360. Schreiber & Schmitz 1996, Phys. Rev. Lett. 77, 635.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fieldlevel.parameters import COSMOLOGICAL_NAMES
from fieldlevel.statistics.pairs import Experiments, PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.verdicts.outcomes import (
    INFERENCE_R2,
    PRECONDITION,
    Finding,
    Verdict,
    above,
    at_most,
    conclude,
    finding_if_known,
)

NO_INFERENCE_R2 = 0.1
"""Below this R² a prediction is of no use."""

FAILING_RATIO = 2.0
"""A network fails where its error grows by this factor."""


@dataclass(frozen=True)
class R2Claim:
    """That networks infer some parameters from what they are given, or that their predictions are of no use.

    R² judges the prediction as the network gives it. One with R² below 0 may still go up and down with the truth: the
    squared correlation, which stands beside it, says how much of that is left for who would calibrate it anew.

    Attributes:
        experiment: its name.
        claim: in one sentence.
        infers: whether R² should be high, or low.
        names: the parameters.
        letter: what the letter found.
    """

    experiment: str
    claim: str
    infers: bool = False
    names: Sequence[str] = COSMOLOGICAL_NAMES
    letter: str = "not in the letter"

    @property
    def criterion(self) -> str:
        """What is compared with what."""
        bound = f"above {INFERENCE_R2}" if self.infers else f"below {NO_INFERENCE_R2}"
        return f"R² of {' and '.join(self.names)} {bound} beyond the error; {PRECONDITION}"


R2_CLAIMS = (
    R2Claim(
        "mean map",
        "Given its mean in every pixel instead of a map, the network makes no usable prediction.",
        letter="nothing is inferred",
    ),
    R2Claim(
        "shuffled pixels",
        "Given its pixels in random order instead of a map, the network makes no usable prediction.",
        letter="nothing is inferred",
    ),
    R2Claim(
        "no monopole",
        "The network does not live on the mean of the map: scaled to one mean, maps still tell Omega_m.",
        infers=True,
        names=("Omega_m",),
    ),
    R2Claim(
        "permuted labels",
        "Trained with labels in random order, the network falls back to the prior.",
    ),
)


def judge_null_tests(experiments: Experiments) -> Iterator[Verdict]:
    """Verdicts on `R2_CLAIMS` and on random phases."""
    networks = on_own_suite(experiments["four pairs"])
    for claim in R2_CLAIMS:
        yield from _inference(networks, on_own_suite(experiments.get(claim.experiment, ())), claim)
    yield from _random_phases(networks, on_own_suite(experiments.get("random phases", ())))


def _inference(
    networks: Mapping[str, PairResult], tested: Mapping[str, PairResult], claim: R2Claim
) -> Iterator[Verdict]:
    findings = {
        f"{suite} {name}": _r2(networks[suite], result, name, claim.infers)
        for suite, result in tested.items()
        for name in claim.names
    }
    return conclude(claim.experiment, claim.claim, claim.criterion, claim.letter, findings)


def _r2(network: PairResult, result: PairResult, name: str, infers: bool) -> Finding:
    r2, correlation = result.scores[name]["r2"], result.scores[name]["squared_correlation"]
    outcome = above(r2, INFERENCE_R2) if infers else at_most(r2, NO_INFERENCE_R2)
    text = f"R² = {r2.interval()}, squared correlation {correlation.text()}"
    return finding_if_known(network, [name], text, outcome)


def _random_phases(networks: Mapping[str, PairResult], tested: Mapping[str, PairResult]) -> Iterator[Verdict]:
    """That a network needs more than the mean and the power spectrum of the logarithm of a map, which is what it reads.

    Only these two are kept. Mean, power spectrum and PDF of the density are not: a Gaussian field stands in the place
    of a logarithm that was skewed, so the bright peaks are gone, and with them most of the mean and of the power. That
    the network fails does not say, therefore, that it reads more than the power spectrum of the density. Surrogates
    with the power spectrum and the PDF of the density (Schreiber & Schmitz 1996) would be no null test: few bright
    peaks carry most of the power, and force phases that correlate with those of the map.
    """
    findings: dict[str, Finding] = {}
    for suite, result in tested.items():
        ratios = error_ratio(networks[suite].predictions, result.predictions)
        for name in COSMOLOGICAL_NAMES:
            text, outcome = f"RMSE ratio {ratios[name].interval()}", above(ratios[name], FAILING_RATIO)
            findings[f"{suite} {name}"] = finding_if_known(networks[suite], [name], text, outcome)
    return conclude(
        "random phases",
        "With random phases, which keep mean and power spectrum of the logarithm of the map, the network fails: it "
        "reads more than these two.",
        f"RMSE above {FAILING_RATIO:g} times that on the maps themselves beyond the error, for Omega_m and sigma_8; "
        f"mean and power spectrum of the density itself are not kept; {PRECONDITION}",
        "not in the letter",
        findings,
    )
