"""What each experiment of the letter claims, what came out, and whether it holds.

Every criterion is written down before the numbers are known and stands in the report beside them. An error is that of
the bootstrap over simulations; "beyond the errors" means by more than two of them.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fieldlevel.experiments.mean_only import MeanOnly
from fieldlevel.experiments.metrics import Estimate, PairResult, Scores, TransferRatios, transfer_ratio, transfer_ratios
from fieldlevel.parameters import PARAMETERS

COSMOLOGICAL = tuple(p.name for p in PARAMETERS if p.cosmological)
SIGNIFICANCE = 2.0
"""Errors by which a number must differ to be called different."""

NO_INFERENCE_R2 = 0.1
"""Below this R² nothing is inferred."""

INFERENCE_R2 = 0.5
"""Above this R² a parameter is inferred."""

ROBUST_RATIO = 1.25
"""A network counts as robust where its error on the other suite is at most so many times that on its own."""

FAILING_RATIO = 2.0
"""A network fails where its error grows by this factor."""

Experiments = Mapping[str, Sequence[PairResult]]
Numbers = dict[str, tuple[str, bool]]
"""What was measured and whether it is as claimed, by where it was measured."""


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


@dataclass(frozen=True)
class R2Claim:
    """That networks infer some parameters from what they are given, or that they do not.

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
    names: Sequence[str] = ("Omega_m",)
    letter: str = "not in the letter"


R2_CLAIMS = (
    R2Claim(
        "mean map",
        "Given its mean in every pixel instead of a map, the network infers nothing.",
        letter="nothing is inferred",
    ),
    R2Claim(
        "shuffled pixels",
        "Given its pixels in random order instead of a map, the network infers nothing.",
        letter="nothing is inferred",
    ),
    R2Claim(
        "no monopole",
        "The network does not live on the mean of the map: scaled to one mean, maps still tell Omega_m.",
        infers=True,
    ),
    R2Claim(
        "permuted labels",
        "Trained with labels in random order, the network falls back to the prior.",
        names=COSMOLOGICAL,
    ),
)

SUMMARIES = {
    "mean of the map alone": "total mass scatters too much to tell Omega_m",
    "power spectrum": "20% for Omega_m, nothing but the mean for sigma_8",
    "one-point PDF": "not in the letter",
}
"""Predictors that know less than the map, and what the letter says of them."""


def judge(
    experiments: Experiments, mean_only: Mapping[str, MeanOnly], transfer: TransferRatios | None = None
) -> list[Verdict]:
    """A verdict on every experiment that was done.

    Args:
        experiments: results by name, those of one seed.
        mean_only: the predictors that know the mean of a map alone, by suite.
        transfer: ratios of the four pairs, if they are known already.
    """
    pairs = experiments["four pairs"]
    scores = {
        name: {suite: result.scores for suite, result in _own(experiments.get(name, ())).items()} for name in SUMMARIES
    } | {"mean of the map alone": {suite: found.scores for suite, found in mean_only.items()}}
    return [
        *_robustness(pairs, transfer or transfer_ratios(pairs)),
        *(verdict for claim in R2_CLAIMS for verdict in _inference(claim, experiments.get(claim.experiment, ()))),
        *_random_phases(pairs, experiments.get("random phases", ())),
        *(verdict for name in SUMMARIES for verdict in _worse_than_network(pairs, name, scores[name])),
        *_gravity_only(experiments),
        *_smoothing(experiments),
    ]


def _own(results: Sequence[PairResult]) -> dict[str, PairResult]:
    """Those of networks tested on their own suite, by suite."""
    return {result.train_suite: result for result in results if not result.crosses_suites}


def _verdict(experiment: str, claim: str, criterion: str, letter: str, numbers: Numbers) -> Iterator[Verdict]:
    """That every number is as claimed; none where nothing was measured."""
    if numbers:
        measured = "; ".join(f"{where}: {text}" for where, (text, _) in numbers.items())
        yield Verdict(experiment, claim, criterion, measured, letter, all(holds for _, holds in numbers.values()))


def _robustness(pairs: Sequence[PairResult], transfer: TransferRatios) -> Iterator[Verdict]:
    ratios = {
        f"{pair.name} {name}": transfer[pair.name][name]
        for pair in pairs
        if pair.crosses_suites
        for name in COSMOLOGICAL
    }
    return _verdict(
        "four pairs",
        "A network infers Omega_m and sigma_8 as well from the suite that it has never seen as from its own.",
        f"RMSE on the other suite over RMSE on the own one at most {ROBUST_RATIO}, within the errors",
        "3.4% and 2.4% on IllustrisTNG become 3.9% and 2.6% on SIMBA; 4.5% and 2.7% on SIMBA, 4.3% and 2.7%",
        {where: (r.text(), r.value - SIGNIFICANCE * r.error <= ROBUST_RATIO) for where, r in ratios.items()},
    )


def _inference(claim: R2Claim, results: Sequence[PairResult]) -> Iterator[Verdict]:
    bound = f"above {INFERENCE_R2}" if claim.infers else f"below {NO_INFERENCE_R2}"
    measured = {
        f"{suite} {name}": result.scores[name]["r2"] for suite, result in _own(results).items() for name in claim.names
    }
    return _verdict(
        claim.experiment,
        claim.claim,
        f"R² of {' and '.join(claim.names)} {bound}",
        claim.letter,
        {
            where: (f"R² = {r2.text()}", r2.value > INFERENCE_R2 if claim.infers else r2.value < NO_INFERENCE_R2)
            for where, r2 in measured.items()
        },
    )


def _random_phases(pairs: Sequence[PairResult], results: Sequence[PairResult]) -> Iterator[Verdict]:
    whole = _own(pairs)
    numbers: Numbers = {}
    for suite, result in _own(results).items():
        ratios = transfer_ratio(whole[suite].predictions, result.predictions)
        numbers |= {
            f"{suite} {name}": (f"ratio {ratios[name].text()}", ratios[name].value >= FAILING_RATIO)
            for name in COSMOLOGICAL
        }
    return _verdict(
        "random phases",
        "The network reads more than the power spectrum: with random phases it fails.",
        f"RMSE at least {FAILING_RATIO:g} times that on the maps themselves, for Omega_m and sigma_8",
        "not in the letter",
        numbers,
    )


def _worse_than_network(pairs: Sequence[PairResult], name: str, scores: Mapping[str, Scores]) -> Iterator[Verdict]:
    whole = _own(pairs)
    numbers: Numbers = {}
    for suite, own in scores.items():
        for parameter in COSMOLOGICAL:
            theirs, network = own[parameter]["rmse"], whole[suite].scores[parameter]["rmse"]
            text = f"RMSE {theirs.text()}, network {network.text()}"
            numbers[f"{suite} {parameter}"] = (text, _exceeds(theirs, network))
    return _verdict(
        name,
        f"The network finds what the {name} does not hold.",
        "RMSE above that of the network beyond the errors, for Omega_m and sigma_8",
        SUMMARIES[name],
        numbers,
    )


def _exceeds(larger: Estimate, smaller: Estimate) -> bool:
    """Whether a number is above another beyond the errors of both."""
    return bool(larger.value - smaller.value > SIGNIFICANCE * np.hypot(larger.error, smaller.error))


def _gravity_only(experiments: Experiments) -> Iterator[Verdict]:
    own = _own(experiments["four pairs"]) | _own(experiments.get("N-body to hydro", ()))
    for name in ("hydro to N-body", "N-body to hydro"):
        crossed = [result for result in experiments.get(name, ()) if result.crosses_suites]
        yield from _verdict(
            name,
            "Baryons cannot be left out: between gravity-only and hydrodynamic maps the network is biased.",
            "for each network the mean bias of Omega_m or sigma_8 exceeds its own-suite RMSE",
            "fails, biased",
            {result.name: _bias(result, own[result.train_suite].scores) for result in crossed},
        )


def _bias(result: PairResult, own: Scores) -> tuple[str, bool]:
    """Bias of each cosmological parameter beside the own-suite error, and whether any is above it."""
    biases = {name: (result.scores[name]["bias"], own[name]["rmse"]) for name in COSMOLOGICAL}
    texts = [f"{name} bias {bias.text()}, own error {error.text()}" for name, (bias, error) in biases.items()]
    return ", ".join(texts), any(abs(bias.value) > error.value for bias, error in biases.values())


def _smoothing(experiments: Experiments) -> Iterator[Verdict]:
    ladder = ["four pairs", *(name for name in experiments if name.startswith("smoothing"))]
    numbers: Numbers = {}
    for suite in _own(experiments["four pairs"]) if len(ladder) > 1 else ():
        errors = [_own(experiments[name])[suite].scores["Omega_m"]["rmse"] for name in ladder]
        falls = any(_exceeds(before, after) for before, after in pairwise(errors))
        rises = errors[-1].value > errors[0].value
        numbers[suite] = ("RMSE " + ", ".join(error.text() for error in errors), rises and not falls)
    return _verdict(
        "smoothing",
        "Small scales hold information: the more a map is smoothed, the worse Omega_m is known.",
        "RMSE of Omega_m: no step of smoothing lowers it beyond the errors, the last is above the first",
        "3.4% becomes 5.1, 6.8 and 8.8% at 1, 2 and 3 pixels",
        numbers,
    )
