r"""Error bars for maps of a suite that a network has never seen.

On maps of its own suite the errors of a network are those that it claims, once they are calibrated; on another suite
they are larger, and nothing in a map says by how much. What was measured on other suites is added,

    sigma_transfer^2 = lambda(mu)^2 sigma^2 + tau^2,

with lambda from simulations of the own suite that the network was not trained on (`statistics.rescaling`; 1 where the
standard deviations are calibrated already) and tau, one number a parameter, from suites that it was not trained on: on
suite k the tau_k with which the mean of (theta - mu)^2 / (lambda^2 sigma^2 + tau_k^2) is 1, or 0 where it is below 1
without. That is the squared bias and whatever else is wider than claimed. tau^2 is the mean of the tau_k^2.

**What is guaranteed.** If the suite of a map is as likely as each of the K others to be the hardest of all K + 1
(exchangeable suites), an interval that holds on all K holds on it with a probability of K / (K + 1) and no more can be
said (conformal prediction: Vovk, Gammerman & Shafer 2005); baryon models are few and chosen by people, so even that is
an assumption. From a gravity-only twin nothing follows for another baryon model, so twins do not count among the K.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.spec_io import STRICT
from fieldlevel.statistics.rescaling import Rescaling
from fieldlevel.suites import is_nbody

Origin = Literal["leave one out", "other suites", "twin"]

_HALVINGS = 60


class Answers(NamedTuple):
    """What a network says of maps beside the truth, all in units of the prior: (n, P) each, and (n,)."""

    theta: FloatArray
    mean: FloatArray
    std: FloatArray
    simulation: IntArray


@dataclass(frozen=True)
class TransferErrors:
    """What is added to standard deviations for maps of another suite.

    Attributes:
        origin: `leave one out`: networks trained on all but one of the sources, each tested on that one; `other
            suites`: the network itself on suites that it was not trained on; `twin`: on gravity-only maps alone.
        suites: whose errors were measured.
        widening: lambda, of standard deviations as the network predicts them.
        tau: of each parameter, in units of the prior; None where no such suite has the parameter.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    origin: Origin
    suites: tuple[str, ...]
    widening: Rescaling
    tau: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not self.suites or len(self.tau) != len(self.widening.coefficients):
            raise ValueError("transfer: no suites, or a tau for other parameters than lambda")
        if not all(tau is None or 0 <= tau <= 10 for tau in self.tau):
            raise ValueError("transfer: a tau below 0, or of many priors")

    def std(self, mean: FloatArray, std: FloatArray) -> FloatArray:
        """Standard deviations for maps of another suite.

        Args:
            mean: posterior means in units of the prior, (n, P).
            std: posterior standard deviations as they are predicted, (n, P).

        Returns:
            (n, P); NaN where tau is not known.

        Example:
            >>> errors = TransferErrors("twin", ("Nbody_Mock",), Rescaling.none(2), (0.03, None))
            >>> errors.std(np.full((1, 2), 0.5), np.full((1, 2), 0.04)).round(6).tolist()
            [[0.05, nan]]
        """
        tau = np.array([np.nan if tau is None else tau for tau in self.tau])
        return np.asarray(np.hypot(self.widening.scale(mean) * std, tau))

    @property
    def n_other_suites(self) -> int:
        """K of what is guaranteed; gravity-only twins do not count."""
        return sum(not is_nbody(suite) for suite in self.suites)

    @property
    def guarantee(self) -> str:
        """What may be said of these error bars, in a sentence."""
        told_of, n = ", ".join(self.suites), self.n_other_suites
        if n == 0:
            return f"transfer errors are those on gravity-only maps ({told_of}): on another suite nothing is guaranteed"
        how = "leave-one-out among" if self.origin == "leave one out" else "the errors on"
        beside = " and gravity-only maps" * (n < len(self.suites))
        told = f"transfer errors come from {how} {n} suite{'s' * (n != 1)}{beside} ({told_of})"
        return (
            f"{told}: an interval that holds on all of them holds on another one with a probability of at most "
            f"{n}/{n + 1}, and that only if it is no less like them than they are like one another"
        )


def fit_tau(answers: Sequence[Answers], widening: Rescaling) -> tuple[float | None, ...]:
    """What other suites ask for, of each parameter.

    Args:
        answers: of each suite; truths that are NaN do not count.
        widening: lambda.

    Returns:
        tau in units of the prior, (P,); None where no suite has a truth.
    """
    each = np.array([_tau_squared(one, widening) for one in answers])
    known = np.isfinite(each)
    total, n = np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0)
    return tuple(float(np.sqrt(t / k)) if k else None for t, k in zip(total, n, strict=True))


def _tau_squared(answers: Answers, widening: Rescaling) -> FloatArray:
    """By halving the interval from zero to the mean squared error, at which chi^2 is below 1 already, (P,)."""
    error, variance = np.square(answers.theta - answers.mean), np.square(widening.scale(answers.mean) * answers.std)
    variance = np.maximum(variance, 1e-12)
    low, high = np.zeros(error.shape[1]), error.mean(axis=0)
    fits = (error / variance).mean(axis=0) <= 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_small = (error / (variance + middle)).mean(axis=0) > 1
        low, high = np.where(is_small, middle, low), np.where(is_small, high, middle)
    return np.where(np.isnan(error).any(axis=0), np.nan, np.where(fits, 0.0, high))
