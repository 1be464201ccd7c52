r"""Accuracy of posterior means and standard deviations, with errors by bootstrap over simulations.

The letter quotes one number a parameter, written <delta theta / theta> in its text and <sigma_i / mu_i> in the caption
of its Fig. 4. Two readings of that number can differ by a factor of two for the supernova parameters, so every measure
is computed and named. Each is a smooth function of averages over maps,

    m = f(<t_1>, ..., <t_k>),

which makes the bootstrap a matrix product: the maps of one simulation share its initial conditions and parameters and
are not independent, so simulations are drawn with replacement and a simulation drawn c times adds c times its sums.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360. Efron & Tibshirani 1993, An Introduction to the Bootstrap.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import UserError
from fieldlevel.files import written_aside
from fieldlevel.parameters import MOCK_MARK, PARAMETER_NAMES, PARAMETERS, FloatArray, is_mock

IntArray = npt.NDArray[np.integer]

_COSMOLOGY = [column for column, parameter in enumerate(PARAMETERS) if parameter.cosmological]
"""Columns of theta that mean something in gravity-only twins too."""

CSV_COLUMNS = ("simulation", "map", *(f"{name}_{kind}" for name in PARAMETER_NAMES for kind in ("true", "mean", "std")))


@dataclass(frozen=True)
class Predictions:
    """Posterior moments of every tested map beside the truth, in physical units.

    Attributes:
        theta: true parameters, shape (n, 6), columns in the order of `PARAMETERS`.
        mean: posterior means, shape (n, 6).
        std: posterior standard deviations, shape (n, 6), not negative.
        simulation: number of the simulation that each map was cut from, shape (n,).
        map_index: number of each map in its file, shape (n,).

    Raises:
        UserError: no map, shapes that disagree, a value that is not finite or a negative standard deviation.
    """

    theta: FloatArray
    mean: FloatArray
    std: FloatArray
    simulation: IntArray
    map_index: IntArray

    def __post_init__(self) -> None:
        n = len(self.simulation)
        if n == 0:
            raise UserError("predictions: no map was tested; give a suite with at least one test simulation")
        if len(self.map_index) != n:
            raise UserError(f"predictions: {len(self.map_index)} map numbers for {n} maps; give one a map")
        for name in ("theta", "mean", "std"):
            self._check_moments(name, (n, len(PARAMETER_NAMES)))
        if (self.std < 0).any():
            row = int(np.argmax((self.std < 0).any(axis=1)))
            raise UserError(f"predictions: std of map {self.map_index[row]} is negative; give standard deviations")

    def _check_moments(self, name: str, shape: tuple[int, int]) -> None:
        values = getattr(self, name)
        if values.shape != shape:
            raise UserError(f"predictions: {name} has shape {values.shape}, not {shape}; give one row a map")
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            first = self.map_index[int(np.argmax(broken))]
            raise UserError(f"predictions: {name} of map {first} is not finite; train the network again")

    @property
    def n_maps(self) -> int:
        """Number of tested maps."""
        return len(self.simulation)

    @property
    def n_simulations(self) -> int:
        """Number of simulations that the tested maps were cut from."""
        return len(np.unique(self.simulation))

    def rows(self) -> list[list[Any]]:
        """One row a map, in the order of `CSV_COLUMNS`."""
        moments = np.stack([self.theta, self.mean, self.std], axis=-1).reshape(self.n_maps, -1).astype(float).tolist()
        rows = zip(self.simulation.tolist(), self.map_index.tolist(), moments, strict=True)
        return [[simulation, index, *row] for simulation, index, row in rows]

    def write_csv(self, path: Path) -> None:
        """Write one row a map; every number reads back to the same double."""
        _write_table(path, [list(CSV_COLUMNS), *self.rows()])

    @classmethod
    def read_csv(cls, path: Path) -> "Predictions":
        """Read what `write_csv` wrote.

        Raises:
            UserError: file missing, other columns, or a row that is not numbers.
        """
        try:
            header, *rows = csv.reader(path.read_text().splitlines())
            table = np.array(rows, dtype=float)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); evaluate the network again") from None
        except ValueError as error:
            raise UserError(f"{path}: not a table of numbers ({error}); evaluate the network again") from None
        if tuple(header) != CSV_COLUMNS or table.ndim != 2 or table.shape[1] != len(CSV_COLUMNS):
            raise UserError(f"{path}: columns are not {', '.join(CSV_COLUMNS[:4])}, ...; evaluate the network again")
        moments = table[:, 2:].reshape(len(table), len(PARAMETER_NAMES), 3)
        numbers = table[:, :2].astype(np.int64)
        return cls(moments[..., 0], moments[..., 1], moments[..., 2], numbers[:, 0], numbers[:, 1])


_LEAST_WITH_VALUE = 0.8
"""Part of the replicas of a bootstrap that must have a value."""

LONGEST = 1e6
"""Numbers from here on are written with a power of ten."""


@dataclass(frozen=True)
class Estimate:
    """A measured number and its uncertainty.

    Attributes:
        value: measured on all simulations.
        error: standard deviation over the bootstrap; NaN where it is not defined (one simulation, infinite value, or
            too many replicas without a value).
        low: 16th percentile of the bootstrap.
        high: 84th percentile of the bootstrap.
    """

    value: float
    error: float
    low: float
    high: float

    @classmethod
    def from_replicas(cls, value: float, replicas: FloatArray) -> "Estimate":
        """Summarise bootstrap replicas, shape (n_bootstrap,), of a measured value.

        A few without a value, such as R² of a single truth, are left out. Where those are many, what is left is no
        sample: all replicas of two simulations that have R² are the two themselves.
        """
        finite = replicas[np.isfinite(replicas)]
        if not np.isfinite(value) or len(finite) < max(2, _LEAST_WITH_VALUE * len(replicas)):
            return cls(value, np.nan, np.nan, np.nan)
        low, high = np.percentile(finite, [16, 84])
        return cls(value, float(finite.std(ddof=1)), float(low), float(high))

    def to_json(self) -> dict[str, float | str]:
        """Plain JSON types; infinity and NaN, which JSON lacks, become the strings `inf`, `-inf` and `nan`."""
        return {key: number if np.isfinite(number) else str(number) for key, number in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, float | str]) -> "Estimate":
        """Read what `to_json` wrote."""
        return cls(**{key: float(number) for key, number in document.items()})

    def text(self, percent: bool = False, with_error: bool = True) -> str:
        """Value and error with two significant digits of the error.

        Example:
            >>> Estimate(0.98712, 0.00123, 0.9859, 0.9884).text()
            '0.9871 ± 0.0012'
            >>> Estimate(0.0342, 0.0015, 0.0327, 0.0357).text(percent=True, with_error=False)
            '3.42%'
            >>> Estimate(9549166789507.0, 8899549526525.0, 0.0, 0.0).text()
            '9.5e12 ± 8.9e12'
        """
        scale, unit = (100.0, "%") if percent else (1.0, "")
        value, error = scale * self.value, scale * self.error
        if not np.isfinite(value):
            return {"inf": "∞", "-inf": "−∞"}.get(str(value), "undefined")
        if not np.isfinite(error) or error <= 0:
            return f"{value:.3g}{unit}".replace("-", "−")
        if max(abs(value), error) >= LONGEST:
            spread = f" ± {error:.1e}" if with_error else ""
            return f"{value:.1e}{spread}{unit}".replace("-", "−").replace("e+", "e")
        decimals = int(np.clip(1 - np.floor(np.log10(error)), 0, 4))
        spread = f" ± {error:.{decimals}f}" if with_error else ""
        return f"{value:.{decimals}f}{spread}{unit}".replace("-", "−")

    def interval(self) -> str:
        """Value, and in brackets from which to which percentile of the bootstrap, 16th and 84th.

        Example:
            >>> Estimate(-0.016, 0.068, -0.083, -0.001).interval()
            '−0.016 (−0.083 to −0.001)'
        """
        half = (self.high - self.low) / 2
        if not (np.isfinite(self.value) and half > 0) or max(abs(self.value), half) >= LONGEST:
            return self.text()
        decimals = int(np.clip(1 - np.floor(np.log10(half)), 0, 4))
        value, low, high = (f"{number:.{decimals}f}" for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})".replace("-", "−")


Scores = Mapping[str, Mapping[str, Estimate]]
"""Estimates by parameter name, then by the key of the measure."""


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


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, undefined: float = np.inf) -> FloatArray:
    top, bottom = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    quotient = np.full(bottom.shape, undefined)
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
            terms=lambda theta, mean, std: (_ratio(std, np.abs(mean)),),
            combine=_average,
            percent=True,
        ),
        Metric(
            key="rms_relative_error",
            label="rms relative error",
            latex=r"rms $\delta\theta/\theta$",
            definition="Root mean square of the relative error, √⟨((μ − θ)/θ)²⟩: one reading of the letter's ⟨δθ/θ⟩.",
            terms=lambda theta, mean, std: (_ratio(mean - theta, theta) ** 2,),
            combine=np.sqrt,
            percent=True,
        ),
        Metric(
            key="mean_relative_error",
            label="mean relative error",
            latex=r"$\langle|\delta\theta|/\theta\rangle$",
            definition="Mean size of the relative error, ⟨|μ − θ|/θ⟩: another reading of the letter's ⟨δθ/θ⟩.",
            terms=lambda theta, mean, std: (np.abs(_ratio(mean - theta, theta)),),
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
            terms=lambda theta, mean, std: (_ratio(mean - theta, theta),),
            combine=_average,
            percent=True,
        ),
        Metric(
            key="reduced_chi2",
            label="reduced χ²",
            latex=r"$\chi^2_\nu$",
            definition="Mean squared error in units of the claimed one, ⟨(θ − μ)²/σ²⟩: 1 for honest error bars, above "
            "1 where they are too small, below 1 where they are too large.",
            terms=lambda theta, mean, std: (_ratio((theta - mean) ** 2, std**2),),
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


@dataclass(frozen=True)
class PairResult:
    """A network trained on one suite and tested on one: a cell of the four-pair table.

    Attributes:
        train_suite: suite that the network was trained on.
        test_suite: suite that it was tested on.
        predictions: posterior moments of the tested maps.
        scores: every measure of every parameter.
        seed: that the network was trained with.
    """

    train_suite: str
    test_suite: str
    predictions: Predictions
    scores: Scores
    seed: int = 0

    @property
    def crosses_suites(self) -> bool:
        """Whether the network had never seen the tested suite."""
        return self.train_suite != self.test_suite

    @property
    def name(self) -> str:
        """The pair in words, e.g. `SIMBA → IllustrisTNG`."""
        return f"{self.train_suite} → {self.test_suite}"


TransferRatios = Mapping[str, Mapping[str, Estimate]]
"""Error over the error on the network's own suite, by `PairResult.name` and parameter name."""


def write_predictions(path: Path, experiments: Mapping[str, Iterable[PairResult]]) -> None:
    """Write the predictions of all experiments into one CSV file: where from, then the columns of a pair."""
    rows = [
        [
            MOCK_MARK if is_mock(pair.test_suite) else "CMD files",
            name,
            pair.train_suite,
            pair.test_suite,
            pair.seed,
            *row,
        ]
        for name, pairs in experiments.items()
        for pair in pairs
        for row in pair.predictions.rows()
    ]
    _write_table(path, [["data", "experiment", "train_suite", "test_suite", "seed", *CSV_COLUMNS], *rows])


def _write_table(path: Path, rows: list[list[Any]]) -> None:
    with written_aside(path) as aside, aside.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def evaluate(predictions: Predictions, n_bootstrap: int = 1000, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Measure every parameter with every measure of `METRICS`.

    Args:
        predictions: posterior moments of the tested maps.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling; all parameters and measures share its draws.

    Returns:
        Estimates by parameter name, then by measure. A measure that is infinite (a vanishing std) or undefined (R²
        where all truths agree, the correlation where all means do) is returned as such, without an error.

    Raises:
        UserError: fewer than two resamplings.
    """
    draws = _Bootstrap.draw(predictions.simulation, n_bootstrap, [seed])

    def estimate(metric: Metric, name: str) -> Estimate:
        return Estimate.from_replicas(*draws.measure(metric, predictions, name))

    return {name: {key: estimate(metric, name) for key, metric in METRICS.items()} for name in PARAMETER_NAMES}


def error_ratio(
    baseline: Predictions,
    other: Predictions,
    metric: str = "rmse",
    baseline_metric: str | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Error of some predictions divided by that of others: on another suite, of another network, on changed maps.

    Where both sides hold the same simulations, or twins with the same initial conditions and cosmology, each resampling
    draws the same ones on both sides, so that what they have in common cancels; else both are drawn independently.

    Args:
        baseline: what is compared with.
        other: what is compared.
        metric: key of the measure.
        baseline_metric: key of the measure of the baseline; the same by default.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        Ratio of each parameter by name.

    Raises:
        UserError: unknown measure or fewer than two resamplings.

    Example:
        >>> theta, simulation = np.linspace(1.0, 2.0, 12).reshape(2, 6), np.arange(2)
        >>> narrow, wide = (Predictions(theta, theta + d, theta, simulation, simulation) for d in (0.1, 0.3))
        >>> error_ratio(narrow, wide)["sigma_8"].value.__round__(4)
        3.0
    """
    below_metric, above_metric = _metric(baseline_metric or metric), _metric(metric)
    below = _Bootstrap.draw(baseline.simulation, n_bootstrap, [seed, 0])
    is_paired = _share_simulations(baseline, other)
    above = _Bootstrap.draw(other.simulation, n_bootstrap, [seed, 0 if is_paired else 1])
    ratios = {}
    for name in PARAMETER_NAMES:
        numerator, numerator_replicas = above.measure(above_metric, other, name)
        denominator, denominator_replicas = below.measure(below_metric, baseline, name)
        replicas = _ratio(numerator_replicas, denominator_replicas)
        ratios[name] = Estimate.from_replicas(float(_ratio(numerator, denominator)), replicas)
    return ratios


def _metric(key: str) -> Metric:
    if key not in METRICS:
        raise UserError(f"error ratio: no measure {key!r}; choose from {', '.join(METRICS)}")
    return METRICS[key]


def _share_simulations(one: Predictions, other: Predictions) -> bool:
    """Whether both hold the same simulations or twins: the same numbers, each with the same cosmology on both sides."""
    numbers, first = np.unique(one.simulation, return_index=True)
    other_numbers, other_first = np.unique(other.simulation, return_index=True)
    if not np.array_equal(numbers, other_numbers):
        return False
    return np.allclose(one.theta[first][:, _COSMOLOGY], other.theta[other_first][:, _COSMOLOGY])


def transfer_ratios(pairs: Iterable[PairResult], n_bootstrap: int = 1000) -> TransferRatios:
    """RMSE of each network on another suite over that on its own, where both were tested.

    Args:
        pairs: tested networks, one of each training suite.
        n_bootstrap: resamplings of the simulations.
    """
    tested = list(pairs)
    own = {pair.train_suite: pair.predictions for pair in tested if not pair.crosses_suites}
    return {
        pair.name: error_ratio(own[pair.train_suite], pair.predictions, n_bootstrap=n_bootstrap)
        for pair in tested
        if pair.crosses_suites and pair.train_suite in own
    }


@dataclass(frozen=True)
class _Bootstrap:
    """Simulations drawn with replacement.

    Attributes:
        group: place of each map's simulation among the distinct ones, shape (n,).
        times: how often each resampling draws each simulation, shape (n_bootstrap, n_simulations).
    """

    group: IntArray
    times: IntArray

    @classmethod
    def draw(cls, simulation: IntArray, n_bootstrap: int, seed: list[int]) -> "_Bootstrap":
        if n_bootstrap < 2:
            raise UserError(f"bootstrap: {n_bootstrap} resamplings give no error; ask for at least 2")
        distinct, group = np.unique(simulation, return_inverse=True)
        n = len(distinct)
        return cls(group, np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap))

    def measure(self, metric: Metric, predictions: Predictions, name: str) -> tuple[float, FloatArray]:
        """Value on all maps and its replicas, shape (n_bootstrap,); those are NaN where resampling says nothing."""
        column = PARAMETER_NAMES.index(name)
        theta, mean, std = (x[:, column].astype(float) for x in (predictions.theta, predictions.mean, predictions.std))
        value = metric(theta, mean, std)
        n_bootstrap, n_simulations = self.times.shape
        if n_simulations < 2 or not np.isfinite(value):
            return value, np.full(n_bootstrap, np.nan)
        n_maps = self.times @ np.bincount(self.group)
        sums = (np.bincount(self.group, weights=term) for term in metric.terms(theta, mean, std))
        return value, metric.combine(*(self.times @ total / n_maps for total in sums))


def scores_to_json(scores: Scores) -> dict[str, dict[str, dict[str, float | str]]]:
    """Plain JSON types: parameter, then measure, then value, error, low, high."""
    return {name: {key: estimate.to_json() for key, estimate in row.items()} for name, row in scores.items()}


def scores_from_json(document: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Estimate]]:
    """Read what `scores_to_json` wrote."""
    return {name: {key: Estimate.from_json(cell) for key, cell in row.items()} for name, row in document.items()}
