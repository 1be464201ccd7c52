r"""The posterior of some maps in physical units: moments, intervals, samples and densities.

What is known depends on the head of the network. The moments head tells a mean and a standard deviation of each
parameter; its posterior is the truncated normal of these moments in the prior, parameter by parameter. Correlations are
not known: `covariance` is None, `log_prob` is that of independent parameters, and so are samples. Joint heads tell how
parameters hang together (`is_joint`).

Densities are per physical unit: with theta = low + (high - low) u for u in the unit cube,

    log p(theta) = log p(u) - sum_i log(high_i - low_i).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.arrays import BoolArray, FloatArray
from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.densities import Density
from fieldlevel.estimators.sizes import whole_number
from fieldlevel.extras import need
from fieldlevel.inference.combining import combine_density, refuse_shared_boxes
from fieldlevel.inference.trust.judging import Trust
from fieldlevel.layout import Layout
from fieldlevel.numerics.memory import check_fits

MARGINALS_ONLY = "marginals only: this network's head tells no correlations; train one with a joint head for these"
"""What is said where a covariance is asked for that nobody knows."""

MOST_SAMPLES = 10**9
"""Of each map."""
_BYTES_A_SAMPLE = 56
"""Of one parameter, while it is drawn."""
LARGEST_SEED = 2**31 - 1
_ROUND_OFF = 1e-6
"""Of the width of the prior: float32 numbers at an edge may lie so far outside."""
_MOST_DENSITIES = 1 << 18
"""That are worked out at a time."""


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """Posteriors of n maps; `posterior[3]` and `posterior[10:20]` are those of some of them.

    Attributes:
        density: in units of the prior.
        layout: whose parameters they are of, with their priors.
        moments: means and standard deviations as the network tells them, each (n, P), which no posterior inside the
            prior may have; None where there are none, as of combined maps.
        simulations: of each map, (n,); None where that was not said.
        trust: whether the maps are like those of the training, judged for all maps that were given together; None of
            some of them, and of combined ones.

    Example:
        >>> from fieldlevel.estimators.densities import TruncatedNormal
        >>> mean, std = torch.tensor([[0.5, 0.25]]), torch.tensor([[0.05, 0.05]])
        >>> Posterior(TruncatedNormal(mean, std), Layout().select(["Omega_m", "sigma_8"]))
        <Posterior of 1 map: Omega_m, sigma_8 (marginals only)>
        >>> _.mean.round(3).tolist(), _.std.round(3).tolist()
        ([[0.3, 0.7]], [[0.02, 0.02]])
    """

    density: Density
    layout: Layout
    moments: tuple[FloatArray, FloatArray] | None = None
    simulations: npt.NDArray[Any] | None = None
    trust: Trust | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, (P,), in the order of all columns."""
        return self.layout.names

    @property
    def labels(self) -> tuple[str, ...]:
        """Their symbols, LaTeX without dollar signs."""
        return tuple(parameter.symbol for parameter in self.layout.parameters)

    @property
    def is_joint(self) -> bool:
        """Whether correlations are known."""
        return self.density.is_joint

    @cached_property
    def mean(self) -> FloatArray:
        """Posterior means, (n, P): those of the network where a posterior inside the prior can have them."""
        return self._physical(self.density.mean)

    @cached_property
    def std(self) -> FloatArray:
        """Posterior standard deviations, (n, P)."""
        return _array(self.density.std) * self._widths

    @property
    def covariance(self) -> FloatArray | None:
        """Posterior covariances, (n, P, P); None, with a warning, where the head tells marginals only."""
        if self.density.covariance is None:
            warnings.warn(MARGINALS_ONLY, stacklevel=2)
            return None
        return _array(self.density.covariance) * self._widths[:, None] * self._widths

    @property
    def outside_prior(self) -> BoolArray:
        """Which answers of the network no posterior inside the prior can have, (n, P): `Layout.outside_prior`."""
        return self.layout.outside_prior(*(self.moments or (self.mean, self.std)))

    def __len__(self) -> int:
        return len(self.density.mean)

    def __repr__(self) -> str:
        n_maps = "1 map" if len(self) == 1 else f"{len(self)} maps"
        kind = "joint" if self.is_joint else "marginals only"
        names = self.names if len(self.names) <= 8 else (*self.names[:7], "...")
        return f"<Posterior of {n_maps}: {', '.join(names)} ({kind})>"

    def __getitem__(self, index: Any) -> "Posterior":
        rows = np.arange(len(self))[index].reshape(-1)
        moments = None if self.moments is None else (self.moments[0][rows], self.moments[1][rows])
        simulations = None if self.simulations is None else self.simulations[rows]
        chosen = self.density.select(torch.from_numpy(rows))
        return Posterior(chosen, self.layout, moments, simulations)

    def sample(self, n_samples: int, seed: int = 0) -> FloatArray:
        """Draw from the posterior of every map, inside the prior.

        Args:
            n_samples: of each map.
            seed: the same samples for the same seed; the global random numbers are left alone.

        Returns:
            (n_samples, n, P), columns in the order of `names`.

        Raises:
            UserError: no such number or seed, or more samples than fit into the memory.
        """
        n_samples = whole_number("n_samples", n_samples)
        if n_samples > MOST_SAMPLES:
            raise UserError(f"n_samples = {n_samples}: at most {MOST_SAMPLES}")
        refuse_many_samples(n_samples, len(self), self.layout.n_parameters)
        drawn = self.density.sample(n_samples, _seed(seed))
        return self._physical(drawn).clip(self.layout.lows, self.layout.highs)

    def log_prob(self, theta: npt.ArrayLike | Tensor) -> FloatArray:
        """Natural logarithm of the posterior density, per physical unit of every parameter.

        Args:
            theta: parameters in physical units: of each map, (n, P); one for all maps, (P,); or several for each map,
                (S, n, P).

        Returns:
            (n,), or (S, n); minus infinity outside the prior, NaN where a parameter is. With marginals only it is the
            density of independent parameters.

        Raises:
            UserError: another shape.
        """
        given = _array(theta)
        n_maps, n_parameters = len(self), self.layout.n_parameters
        if given.shape == (n_parameters,):
            given = np.broadcast_to(given, (n_maps, n_parameters))
        if given.ndim not in (2, 3) or given.shape[-2:] != (n_maps, n_parameters):
            told = f"theta of shape {given.shape} for {n_maps} maps of {n_parameters} parameters"
            raise UserError(f"{told}; give (n, P), (P,), or (S, n, P)")
        if n_maps == 0:
            return np.empty(given.shape[:-1])
        is_known = ~np.isnan(given)
        unit = self._unit(np.where(is_known, given, self.layout.lows))
        blocks = torch.split(unit.reshape(-1, n_maps, n_parameters), max(1, _MOST_DENSITIES // n_maps))
        with torch.no_grad():
            found = torch.cat([self.density.log_prob(block) for block in blocks])
        log_density = _array(found).reshape(given.shape[:-1]) - float(np.log(self._widths).sum())
        return np.where(is_known.all(-1), log_density, np.nan)

    def quantile(self, p: float) -> FloatArray:
        """Values that each parameter lies below with probability p, (n, P).

        Raises:
            UserError: no probability.
        """
        return self._physical(self.density.quantile(_probability("p", p, closed=True)))

    def interval(self, level: float = 0.68) -> tuple[FloatArray, FloatArray]:
        """Central interval of each parameter, which leaves as much probability below as above.

        Args:
            level: probability inside.

        Returns:
            Lower and upper ends, each (n, P).

        Raises:
            UserError: no probability between 0 and 1.
        """
        level = _probability("level", level)
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def combine(self, simulations: npt.ArrayLike | Sequence[Any] | None = None, seed: int = 0) -> "Posterior":
        """One posterior of all maps together, for maps of the same parameters with different initial conditions.

        It is the product of all, over the prior for all but one (`inference.combining`): exact for joint posteriors but
        for the noise of 10,000 weighted draws in moments and samples; parameter by parameter with marginals only.

        Args:
            simulations: number or name of the simulation (the box, the initial conditions) that each map is of, (n,);
                those told to `Predictor.posterior` when None.
            seed: of the weighted draws.

        Returns:
            The posterior, of one row.

        Raises:
            UserError: no maps; maps of one box; nobody has said which are; maps that exclude each other.
        """
        if not len(self):
            raise UserError("combine: there are no maps; give one or more")
        if len(self) > 1:
            refuse_shared_boxes(len(self), self.simulations if simulations is None else simulations)
        return Posterior(combine_density(self.density, _seed(seed)), self.layout)

    def to_pandas(self) -> Any:
        """A table of one row a map: `<name>_mean` and `<name>_std` of each parameter.

        Returns:
            A `pandas.DataFrame`.

        Raises:
            UserError: pandas is not installed.
        """
        pandas = need("pandas")
        moments = np.stack([self.mean, self.std], axis=-1).reshape(len(self), -1)
        columns = [f"{name}_{moment}" for name in self.names for moment in ("mean", "std")]
        return pandas.DataFrame(moments, columns=columns, index=pandas.RangeIndex(len(self), name="map"))

    def to_getdist(self, i: int = 0, n_samples: int = 10_000, seed: int = 0) -> Any:
        """Samples of one map for GetDist's plots and tables, with the prior's edges as hard bounds.

        With marginals only, contours of two parameters show none of their correlation, as nobody knows it.

        Args:
            i: number of the map.
            n_samples: to draw.
            seed: of the samples.

        Returns:
            A `getdist.MCSamples`.

        Raises:
            UserError: GetDist is not installed.
        """
        getdist = need("getdist")
        return getdist.MCSamples(
            samples=self[i].sample(n_samples, seed)[:, 0],
            names=list(self.names),
            labels=list(self.labels),
            ranges={each.name: (each.low, each.high) for each in self.layout.parameters},
            label=f"map {i}",
            sampler="uncorrelated",
        )

    @property
    def _widths(self) -> FloatArray:
        return self.layout.highs - self.layout.lows

    def _physical(self, unit: Tensor) -> FloatArray:
        return _array(unit) * self._widths + self.layout.lows

    def _unit(self, theta: FloatArray) -> Tensor:
        """In units of the prior; what lies outside by round-off lies at the edge."""
        unit = torch.from_numpy(self.layout.to_unit_interval(theta))
        inside = unit.clamp(0.0, 1.0)
        return torch.where((unit - inside).abs() <= _ROUND_OFF, inside, unit)


def refuse_many_samples(n_samples: int, n_maps: int, n_parameters: int) -> None:
    """Refuse more samples than fit into the memory of this machine while they are drawn.

    Raises:
        UserError: in one line.
    """
    n_bytes = _BYTES_A_SAMPLE * n_samples * n_maps * n_parameters
    check_fits(n_bytes, f"{n_samples} samples of {n_maps} maps", "ask for fewer, or give fewer maps at a time")


def _array(values: npt.ArrayLike | Tensor) -> npt.NDArray[np.float64]:
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    try:
        return np.array(plain, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"theta {shown(values)}: give an array of numbers") from None


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed = {shown(seed)}: give a whole number from 0 to {LARGEST_SEED}")
    return int(seed)


def _probability(name: str, value: Any, *, closed: bool = False) -> float:
    is_number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not is_number or not (0 < value < 1 or (closed and value in (0, 1))):
        raise UserError(f"{name} = {shown(value)}: give a probability between 0 and 1")
    return float(value)
