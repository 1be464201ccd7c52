r"""Accuracy of posterior means and standard deviations, each measure with its error.

The letter quotes one number a parameter, written <delta theta / theta> in its text and <sigma_i / mu_i> in the caption
of its Fig. 4. Two readings of that number can differ by a factor of two for the supernova parameters, so every measure
is computed and named. Each is a smooth function of averages over maps,

    m = f(<t_1>, ..., <t_k>),

and its bootstrap replicas are the same f of averages over the maps of the simulations drawn (`bootstrap`).

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.predictions import Predictions


@dataclass(frozen=True)
class Metric:
    """A measure of accuracy: a smooth function of averages over maps.

    Attributes:
        key: name in files.
        label: name in tables.
        latex: name in figures, with dollar signs.
        definition: one sentence with the formula.
        terms: columns theta, mean, std of one parameter, each of shape (n,), to the k quantities that are averaged over
            maps, each of shape (n,).
        combine: the k averages to the measure.
        percent: whether the measure is a fraction that is shown in per cent.
    """

    key: str
    label: str
    latex: str
    definition: str
    terms: Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, ...]]
    combine: Callable[..., FloatArray]
    percent: bool = False

    def __call__(self, theta: FloatArray, mean: FloatArray, std: FloatArray) -> float:
        """Measure one parameter.

        Args:
            theta: truths, shape (n,).
            mean: posterior means, shape (n,).
            std: posterior standard deviations, shape (n,).

        Example:
            >>> METRICS["rmse"](np.array([1.0, 2.0]), np.array([1.3, 1.6]), np.ones(2)).__round__(4)
            0.3536
        """
        return float(self.combine(*(term.mean() for term in self.terms(theta, mean, std))))

    def measure(self, predictions: Predictions, name: str, draws: Bootstrap) -> tuple[float, FloatArray]:
        """Value on all maps and its replicas, shape (n_bootstrap,), which are NaN where it is infinite or undefined.

        Raises:
            UserError: the predictions have no parameter of that name.
        """
        column = predictions.layout.column(name)
        theta, mean, std = (x[:, column].astype(float) for x in (predictions.theta, predictions.mean, predictions.std))
        value = self(theta, mean, std)
        if not np.isfinite(value):
            return value, np.full(draws.n_bootstrap, np.nan)
        return value, self.combine(*draws.averages(*self.terms(theta, mean, std)))


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Quotient of two numbers or arrays, infinite where the denominator is zero."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    quotient = np.full(bottom.shape, np.inf)
    with np.errstate(over="ignore"):
        np.divide(top, bottom, out=quotient, where=bottom != 0)
    return quotient


def _average(average: FloatArray) -> FloatArray:
    return average


_ROUND_OFF = 1e-12
"""A variance below this part of the mean square that it is the rest of is none."""


def _variance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Variance from the averages of a quantity and of its square; NaN where the quantity does not vary.

    A bootstrap replica that draws one simulation again and again leaves 1e-17 instead of 0.
    """
    variance = np.subtract(second, np.square(first))
    return np.where(variance > _ROUND_OFF * np.asarray(second), variance, np.nan)


def _r2_terms(theta: FloatArray, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, ...]:
    from_first = theta - theta[0]  # exactly zero where all truths agree
    return (theta - mean) ** 2, from_first, from_first**2


def _r2(squared_error: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    return np.subtract(1, squared_error / _variance(first, second))


def _correlation_terms(theta: FloatArray, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, ...]:
    x, y = theta - theta[0], mean - mean[0]
    return x, x**2, y, y**2, x * y


def _squared_correlation(x: FloatArray, xx: FloatArray, y: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    return np.square(xy - np.multiply(x, y)) / (_variance(x, xx) * _variance(y, yy))


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(
            key="rmse",
            label="RMSE",
            latex="RMSE",
            definition="Root mean square error of the posterior mean, √⟨(μ − θ)²⟩, in units of the parameter.",
            terms=lambda theta, mean, std: ((mean - theta) ** 2,),
            combine=np.sqrt,
        ),
        Metric(
            key="r2",
            label="R²",
            latex=r"$R^2$",
            definition="Fraction of the variance of the truth that the mean explains, 1 − Σ(θ − μ)² / Σ(θ − ⟨θ⟩)²: "
            "1 is perfect, 0 is what the average truth scores, below 0 is worse than that.",
            terms=_r2_terms,
            combine=_r2,
        ),
        Metric(
            key="squared_correlation",
            label="squared correlation",
            latex=r"${\rm corr}^2(\mu, \theta)$",
            definition="Squared correlation of mean and truth, ⟨(μ − ⟨μ⟩)(θ − ⟨θ⟩)⟩² / (⟨(μ − ⟨μ⟩)²⟩ ⟨(θ − ⟨θ⟩)²⟩): "
            "the R² that the best linear correction of the mean would reach; a wrong offset or scale does not show.",
            terms=_correlation_terms,
            combine=_squared_correlation,
        ),
        Metric(
            key="mean_relative_std",
            label="mean σ/μ",
            latex=r"$\langle\sigma/\mu\rangle$",
            definition="Mean claimed relative error, ⟨σ/|μ|⟩: the accuracy in the caption of the letter's Fig. 4. It "
            "does not look at the truth.",
            terms=lambda theta, mean, std: (ratio(std, np.abs(mean)),),
            combine=_average,
            percent=True,
        ),
        Metric(
            key="rms_relative_error",
            label="rms relative error",
            latex=r"rms $\delta\theta/\theta$",
            definition="Root mean square of the relative error, √⟨((μ − θ)/θ)²⟩: one reading of the letter's ⟨δθ/θ⟩.",
            terms=lambda theta, mean, std: (ratio(mean - theta, theta) ** 2,),
            combine=np.sqrt,
            percent=True,
        ),
        Metric(
            key="mean_relative_error",
            label="mean relative error",
            latex=r"$\langle|\delta\theta|/\theta\rangle$",
            definition="Mean size of the relative error, ⟨|μ − θ|/θ⟩: another reading of the letter's ⟨δθ/θ⟩.",
            terms=lambda theta, mean, std: (np.abs(ratio(mean - theta, theta)),),
            combine=_average,
            percent=True,
        ),
        Metric(
            key="bias",
            label="bias",
            latex=r"$\langle\delta\theta\rangle$",
            definition="Mean error, ⟨μ − θ⟩, in units of the parameter.",
            terms=lambda theta, mean, std: (mean - theta,),
            combine=_average,
        ),
        Metric(
            key="relative_bias",
            label="relative bias",
            latex=r"$\langle\delta\theta/\theta\rangle$",
            definition="Mean relative error with its sign, ⟨(μ − θ)/θ⟩.",
            terms=lambda theta, mean, std: (ratio(mean - theta, theta),),
            combine=_average,
            percent=True,
        ),
        Metric(
            key="reduced_chi2",
            label="reduced χ²",
            latex=r"$\chi^2_\nu$",
            definition="Mean squared error in units of the claimed one, ⟨(θ − μ)²/σ²⟩: 1 for honest error bars, above "
            "1 where they are too small, below 1 where they are too large.",
            terms=lambda theta, mean, std: (ratio((theta - mean) ** 2, std**2),),
            combine=_average,
        ),
        Metric(
            key="mean_std",
            label="mean σ",
            latex=r"$\langle\sigma\rangle$",
            definition="Mean claimed standard deviation, ⟨σ⟩, in units of the parameter.",
            terms=lambda theta, mean, std: (std,),
            combine=_average,
        ),
    )
}
"""Every measure by its key, in the order of the tables; ⟨ ⟩ is the average over test maps."""


Scores = Mapping[str, Mapping[str, Estimate]]
"""Estimates by parameter name, then by the key of the measure."""


def evaluate(predictions: Predictions, n_bootstrap: int = 1000, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Measure every parameter of the predictions with every measure of `METRICS`.

    Args:
        predictions: posterior moments of the tested maps.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling; all parameters and measures share its draws.

    Returns:
        Estimates by parameter name, then by measure. A measure that is infinite (a vanishing std) or undefined (R²
        where all truths agree, the correlation where all means do, all that look at a truth that is not known) is
        returned as such, without an error.

    Raises:
        UserError: fewer than two resamplings.
    """
    draws = Bootstrap.draw(predictions.simulation, n_bootstrap, [seed])
    return {
        name: {
            key: Estimate.from_replicas(*metric.measure(predictions, name, draws)) for key, metric in METRICS.items()
        }
        for name in predictions.layout.names
    }


def scores_to_json(scores: Scores) -> dict[str, dict[str, dict[str, float | str]]]:
    """Plain JSON types: parameter, then measure, then value, error, low, high."""
    return {name: {key: estimate.to_json() for key, estimate in row.items()} for name, row in scores.items()}


def scores_from_json(document: Mapping[str, Mapping[str, Mapping[str, float | str]]]) -> dict[str, dict[str, Estimate]]:
    """Read what `scores_to_json` wrote."""
    return {name: {key: Estimate.from_json(cell) for key, cell in row.items()} for name, row in document.items()}
