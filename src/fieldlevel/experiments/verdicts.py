"""What each experiment of the letter claims, what came out, and whether the claim holds.

Every criterion is written down before the numbers are known and stands in the report beside them. It compares a number
x with a bound b. The number has errors from a bootstrap over simulations, down to the 16th percentile x - d and up to
the 84th x + u, and "x above b"

    holds if x - 2 d > b,    fails if x + 2 u <= b,    and is undecided else:

few test simulations leave a claim undecided, they never make it hold. The two errors differ where they must: R² of a
network that always gives the same is at most 0, however few simulations there are. Errors of the same simulations, or
of twins, are compared by their ratio with the same simulations drawn on both sides.

A network that has learnt nothing is robust, is not misled by a destroyed map and makes nothing of permuted labels. Such
claims are judged only where the network knows the parameter on the maps as they are: R² above 0.5, beyond its error.

Per cent are rms relative errors, as the letter gives them; criteria are on the RMSE, which the ratios of the robustness
matrix are of too, and in which simulations of small Omega_m do not outweigh the others.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360. Schreiber & Schmitz 1996, Phys. Rev. Lett. 77, 635.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from fieldlevel.experiments.mean_only import MeanOnly
from fieldlevel.experiments.metrics import (
    Estimate,
    PairResult,
    Scores,
    TransferRatios,
    error_ratio,
    transfer_ratios,
)
from fieldlevel.experiments.published import K_MAX_LOSSES
from fieldlevel.parameters import PARAMETERS

COSMOLOGICAL = tuple(p.name for p in PARAMETERS if p.cosmological)
SIGNIFICANCE = 2.0
"""Errors by which a number must differ to be called different."""

NO_INFERENCE_R2 = 0.1
"""Below this R² a prediction is of no use."""

INFERENCE_R2 = 0.5
"""Above this R² a parameter is inferred."""

ROBUST_RATIO = 1.25
"""A network counts as robust where its error on the other suite is at most so many times that on its own."""

FAILING_RATIO = 2.0
"""A network fails where its error grows by this factor."""

PRECONDITION = f"R² on the maps as they are above {INFERENCE_R2}"
"""Of the claims that a network which has learnt nothing would fulfil, or break, for that reason alone."""

Outcome = Literal["holds", "fails", "undecided"]

Experiments = Mapping[str, Sequence[PairResult]]
Numbers = dict[str, tuple[str, Outcome]]
"""What was measured and what follows for the claim, by where it was measured."""


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it.

    Attributes:
        experiment: its name.
        claim: what should be true, in one sentence.
        criterion: what is compared with what.
        measured: the numbers with their errors, and why one is undecided.
        letter: what the letter found.
        outcome: whether the claim holds: it fails where one of its numbers fails, else it is undecided where one is.
    """

    experiment: str
    claim: str
    criterion: str
    measured: str
    letter: str
    outcome: Outcome


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
    names: Sequence[str] = COSMOLOGICAL
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

SUMMARIES = {
    "mean of the map alone": "total mass scatters too much to tell Omega_m",
    "power spectrum": "20% for Omega_m, nothing but the mean for sigma_8",
    "one-point PDF": "not in the letter",
}
"""Predictors that know less than the map, and what the letter says of them."""


@dataclass(frozen=True)
class Ladder:
    """Experiments that take small scales out of the maps, each with a network trained anew.

    Attributes:
        experiment: its name, with which those of its steps begin; the scale follows.
        claim: in one sentence.
        unit: of the scale.
        coarse_is_large: whether a large scale takes out more, or less.
        letter: what was found before.
    """

    experiment: str
    claim: str
    unit: str
    coarse_is_large: bool
    letter: str

    def steps(self, experiments: Experiments) -> dict[str, Sequence[PairResult]]:
        """Results by scale in words, from the maps as they are to the coarsest ones."""
        names = [name for name in experiments if name.startswith(f"{self.experiment} ")]
        scales = {float(name.split()[1]): name for name in names}
        ordered = sorted(scales, reverse=not self.coarse_is_large)
        return {"all scales": experiments["four pairs"]} | {
            f"{scale:g} {self.unit}": experiments[scales[scale]] for scale in ordered
        }


LADDERS = (
    Ladder(
        "smoothing",
        "Small scales hold information: the more a map is smoothed, the worse Omega_m is known.",
        "px",
        coarse_is_large=True,
        letter="IllustrisTNG: all scales 3.4%, 1 px 5.1%, 2 px 6.8%, 3 px 8.8%",
    ),
    Ladder(
        "k_max",
        "Small scales hold information: the lower the cut, the worse Omega_m is known.",
        "h/Mpc",
        coarse_is_large=False,
        letter="not in the letter; a public re-run on IllustrisTNG: the validation loss "
        f"−{-K_MAX_LOSSES[math.inf]} becomes −{-K_MAX_LOSSES[20.0]} at 20 h/Mpc, −{-K_MAX_LOSSES[5.0]} at 5 h/Mpc",
    ),
)


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
    predictors: dict[str, Mapping[str, PairResult | MeanOnly]] = {
        name: _own(experiments.get(name, ())) for name in SUMMARIES
    } | {"mean of the map alone": mean_only}
    return [
        *_robustness(pairs, transfer or transfer_ratios(pairs)),
        *(
            verdict
            for claim in R2_CLAIMS
            for verdict in _inference(pairs, claim, experiments.get(claim.experiment, ()))
        ),
        *_random_phases(pairs, experiments.get("random phases", ())),
        *(verdict for name in SUMMARIES for verdict in _worse_than_network(pairs, name, predictors[name])),
        *_gravity_only(experiments),
        *(verdict for ladder in LADDERS for verdict in _information(experiments, ladder)),
    ]


def _own(results: Sequence[PairResult]) -> dict[str, PairResult]:
    """Those of networks tested on their own suite, by suite."""
    return {result.train_suite: result for result in results if not result.crosses_suites}


def _verdict(experiment: str, claim: str, criterion: str, letter: str, numbers: Numbers) -> Iterator[Verdict]:
    """What follows from all numbers together; no verdict where nothing was measured."""
    if numbers:
        measured = "; ".join(f"{where}: {text}" for where, (text, _) in numbers.items())
        outcome = _all_hold(outcome for _, outcome in numbers.values())
        yield Verdict(experiment, claim, criterion, measured, letter, outcome)


def _all_hold(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    return "fails" if "fails" in found else "undecided" if "undecided" in found else "holds"


def _any_holds(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    return "holds" if "holds" in found else "undecided" if "undecided" in found else "fails"


def _above(estimate: Estimate, bound: float) -> Outcome:
    """Whether a number is above a bound beyond its error; undecided without an error.

    A number outside the percentiles of its bootstrap has no error on that side.
    """
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    if estimate.value - SIGNIFICANCE * np.maximum(below, 0) > bound:
        return "holds"
    return "fails" if estimate.value + SIGNIFICANCE * np.maximum(above, 0) <= bound else "undecided"


def _at_most(estimate: Estimate, bound: float) -> Outcome:
    """Whether a number is at or below a bound beyond its error; undecided without an error."""
    opposite: dict[Outcome, Outcome] = {"holds": "fails", "fails": "holds", "undecided": "undecided"}
    return opposite[_above(estimate, bound)]


def _judged(text: str, outcome: Outcome) -> tuple[str, Outcome]:
    """What was measured, with the reason where it decides nothing."""
    return (f"{text} (too few test simulations for this bound)" if outcome == "undecided" else text), outcome


def _if_known(network: PairResult, name: str, text: str, outcome: Outcome) -> tuple[str, Outcome]:
    """A judgement that counts only if the network knows a parameter on the maps of its own suite as they are."""
    r2 = network.scores[name]["r2"]
    if _above(r2, INFERENCE_R2) == "holds":
        return _judged(text, outcome)
    reason = f"R² = {r2.interval()} on the maps as they are is not above {INFERENCE_R2} beyond its error"
    return f"{text} (not judged: {reason})", "undecided"


def _relative(scores: Scores, name: str) -> str:
    return scores[name]["rms_relative_error"].text(percent=True)


def _robustness(pairs: Sequence[PairResult], transfer: TransferRatios) -> Iterator[Verdict]:
    own = _own(pairs)
    numbers = {
        f"{pair.name} {name}": _transfer(own[pair.train_suite], pair, name, transfer[pair.name][name])
        for pair in pairs
        if pair.crosses_suites
        for name in COSMOLOGICAL
    }
    return _verdict(
        "four pairs",
        "A network infers Omega_m and sigma_8 as well from the suite that it has never seen as from its own.",
        f"RMSE on the other suite at most {ROBUST_RATIO} times that on the own one, beyond the error; {PRECONDITION}",
        "3.4% and 2.4% on IllustrisTNG become 3.9% and 2.6% on SIMBA; 4.5% and 2.7% on SIMBA, 4.3% and 2.7%",
        numbers,
    )


def _transfer(own: PairResult, other: PairResult, name: str, ratio: Estimate) -> tuple[str, Outcome]:
    """Robustness of a network; that of one which knows nothing says nothing, its failure does."""
    text = f"{_relative(own.scores, name)} becomes {_relative(other.scores, name)}, RMSE ratio {ratio.interval()}"
    outcome = _at_most(ratio, ROBUST_RATIO)
    return (text, outcome) if outcome == "fails" else _if_known(own, name, text, outcome)


def _inference(pairs: Sequence[PairResult], claim: R2Claim, results: Sequence[PairResult]) -> Iterator[Verdict]:
    whole = _own(pairs)
    numbers: Numbers = {}
    for suite, result in _own(results).items():
        for name in claim.names:
            r2, correlation = result.scores[name]["r2"], result.scores[name]["squared_correlation"]
            outcome = _above(r2, INFERENCE_R2) if claim.infers else _at_most(r2, NO_INFERENCE_R2)
            text = f"R² = {r2.interval()}, squared correlation {correlation.text()}"
            numbers[f"{suite} {name}"] = _if_known(whole[suite], name, text, outcome)
    return _verdict(claim.experiment, claim.claim, claim.criterion, claim.letter, numbers)


def _random_phases(pairs: Sequence[PairResult], results: Sequence[PairResult]) -> Iterator[Verdict]:
    """That a network needs more than the mean and the power spectrum of the logarithm of a map, which is what it reads.

    Only these two are kept. Mean, power spectrum and PDF of the density are not: a Gaussian field stands in the place
    of a logarithm that was skewed, so the bright peaks are gone, and with them most of the mean and of the power. That
    the network fails does not say, therefore, that it reads more than the power spectrum of the density. Surrogates
    with the power spectrum and the PDF of the density (Schreiber & Schmitz 1996) would be no null test: few bright
    peaks carry most of the power, and force phases that correlate with those of the map.
    """
    whole = _own(pairs)
    numbers: Numbers = {}
    for suite, result in _own(results).items():
        ratios = error_ratio(whole[suite].predictions, result.predictions)
        for name in COSMOLOGICAL:
            text, outcome = f"RMSE ratio {ratios[name].interval()}", _above(ratios[name], FAILING_RATIO)
            numbers[f"{suite} {name}"] = _if_known(whole[suite], name, text, outcome)
    return _verdict(
        "random phases",
        "With random phases, which keep mean and power spectrum of the logarithm of the map, the network fails: it "
        "reads more than these two.",
        f"RMSE above {FAILING_RATIO:g} times that on the maps themselves beyond the error, for Omega_m and sigma_8; "
        f"mean and power spectrum of the density itself are not kept; {PRECONDITION}",
        "not in the letter",
        numbers,
    )


def _worse_than_network(
    pairs: Sequence[PairResult], name: str, predictors: Mapping[str, PairResult | MeanOnly]
) -> Iterator[Verdict]:
    whole = _own(pairs)
    numbers: Numbers = {}
    for suite, predictor in predictors.items():
        network = whole[suite]
        ratios = error_ratio(network.predictions, predictor.predictions)
        for parameter in COSMOLOGICAL:
            theirs, ours = _relative(predictor.scores, parameter), _relative(network.scores, parameter)
            text = f"{theirs}, network {ours}, RMSE ratio {ratios[parameter].interval()}"
            numbers[f"{suite} {parameter}"] = _judged(text, _above(ratios[parameter], 1))
    return _verdict(
        name,
        f"The network finds what the {name} does not hold.",
        "RMSE above that of the network beyond the error of their ratio, for Omega_m and sigma_8",
        SUMMARIES[name],
        numbers,
    )


def _gravity_only(experiments: Experiments) -> Iterator[Verdict]:
    own = _own(experiments["four pairs"]) | _own(experiments.get("N-body to hydro", ()))
    for name in ("hydro to N-body", "N-body to hydro"):
        crossed = [result for result in experiments.get(name, ()) if result.crosses_suites]
        yield from _verdict(
            name,
            "Baryons cannot be left out: between gravity-only and hydrodynamic maps the network is biased.",
            "for each network the mean bias of Omega_m or sigma_8 exceeds its own-suite RMSE beyond the error of their "
            "ratio",
            "fails, biased",
            {result.name: _bias(own[result.train_suite], result) for result in crossed},
        )


def _bias(own: PairResult, result: PairResult) -> tuple[str, Outcome]:
    """Bias of each cosmological parameter beside the own-suite error, and whether any is above it."""
    ratios = error_ratio(own.predictions, result.predictions, "bias", baseline_metric="rmse")
    texts = [
        f"{name} bias {result.scores[name]['bias'].text()}, own RMSE {own.scores[name]['rmse'].text()}, "
        f"ratio {ratios[name].interval()}"
        for name in COSMOLOGICAL
    ]
    return _judged(", ".join(texts), _any_holds(_above(_size(ratios[name]), 1) for name in COSMOLOGICAL))


def _size(ratio: Estimate) -> Estimate:
    """A number without its sign; its errors change sides with it."""
    if ratio.value >= 0:
        return ratio
    return Estimate(-ratio.value, ratio.error, -ratio.high, -ratio.low)


def _information(experiments: Experiments, ladder: Ladder) -> Iterator[Verdict]:
    steps = ladder.steps(experiments)
    numbers: Numbers = {}
    for suite in _own(experiments["four pairs"]) if len(steps) > 1 else ():
        numbers[suite] = _loss_of_information({words: _own(step)[suite] for words, step in steps.items()})
    return _verdict(
        ladder.experiment,
        ladder.claim,
        "RMSE of Omega_m: taking out more scales lowers it at no step and raises it from first to last, both "
        "beyond the error",
        ladder.letter,
        numbers,
    )


def _loss_of_information(results: Mapping[str, PairResult]) -> tuple[str, Outcome]:
    """Error of Omega_m by scale, and whether it grows from the first scale to the last and falls at no step."""
    predictions = [result.predictions for result in results.values()]
    growth = error_ratio(predictions[0], predictions[-1])["Omega_m"]
    falls = [_above(error_ratio(after, before)["Omega_m"], 1) == "holds" for before, after in pairwise(predictions)]
    errors = ", ".join(f"{words} {_relative(result.scores, 'Omega_m')}" for words, result in results.items())
    lower = [words for words, falls_here in zip(list(results)[1:], falls, strict=True) if falls_here]
    text = f"{errors}; RMSE ratio of last to first {growth.interval()}"
    if lower:
        return f"{text}; RMSE falls at {', '.join(lower)}", "fails"
    return _judged(text, _above(growth, 1))
