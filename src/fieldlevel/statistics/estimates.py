"""A measured number with its error, in files and in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from fieldlevel.arrays import FloatArray

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

    def size(self) -> "Estimate":
        """The number without its sign; its errors change sides with it.

        Example:
            >>> Estimate(-3.0, 1.0, -4.5, -2.0).size()
            Estimate(value=3.0, error=1.0, low=2.0, high=4.5)
        """
        return self if self.value >= 0 else Estimate(-self.value, self.error, -self.high, -self.low)

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
        decimals = _decimals(error)
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
        value, low, high = (f"{number:.{_decimals(half)}f}" for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})".replace("-", "−")


def _decimals(error: float) -> int:
    """Decimal places that show two significant digits of an error, at most four."""
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 4))
