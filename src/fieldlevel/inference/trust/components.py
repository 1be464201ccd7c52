r"""A few numbers that hold most of what varies among the statistics of the layers, and how little space they take.

The statistics are scaled to unit variance over the maps of the fit; what the answers explain is taken out
(`regression`), and the principal components of what is left are found layer by layer, so that a component belongs to a
layer, and wide layers do not crowd out narrow ones. Components are kept in eight bits; everything that follows is
fitted to the rounded ones, so the rounding costs nothing but a slightly other choice of directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.inference.trust.regression import Regression

_VANISHING = 1e-6
"""Of the largest standard deviation of a layer: such a statistic is not looked at."""
_LEVELS = 127
Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of the statistics of every layer.

    Attributes:
        centre: means of the statistics, (F,).
        inverse_scale: one over their standard deviations, 0 of statistics that do not vary, (F,).
        weights: of the statistics of its layer in each component, of all layers one after the other, (C, F) where a
            layer has C at most.
        widths: statistics of each layer.
    """

    centre: FloatArray
    inverse_scale: FloatArray
    weights: Int8Array
    widths: tuple[int, ...]

    @classmethod
    def fit(
        cls,
        statistics: FloatArray,
        answers: FloatArray,
        widths: Sequence[int],
        n_components: int,
        n_simulations: int,
    ) -> "Components":
        """Of the statistics (n, F) of n maps of some simulations, given the answers (n, A) to them."""
        centre, std = statistics.mean(0), statistics.std(0)
        inverse = np.concatenate([_inverse(std[layer]) for layer in slices(widths)])
        scaled = (statistics - centre) * inverse
        rest = scaled - Regression.fit(answers, scaled, n_simulations).expected(answers)
        blocks = [_leading(rest[:, layer], n_components) for layer in slices(widths)]
        return cls(centre, inverse, np.concatenate(blocks, axis=1), tuple(widths))

    @property
    def layer(self) -> IntArray:
        """Number of the layer of each component."""
        counts = [min(len(self.weights), width) for width in self.widths]
        return np.repeat(np.arange(len(self.widths)), counts)

    def of(self, statistics: FloatArray) -> FloatArray:
        """Components of maps, (n, F) to (n, D)."""
        scaled = (statistics - self.centre) * self.inverse_scale
        parts = [
            scaled[:, layer] @ self.weights[: layer.stop - layer.start, layer].T.astype(float) / _LEVELS
            for layer in slices(self.widths)
        ]
        return np.concatenate(parts, axis=1)


def slices(widths: Sequence[int]) -> list[slice]:
    """Where the statistics of each layer stand.

    Example:
        >>> slices([2, 3])
        [slice(0, 2, None), slice(2, 5, None)]
    """
    ends = np.cumsum(np.asarray(widths, dtype=int)).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _inverse(std: FloatArray) -> FloatArray:
    varies = std > _VANISHING * max(float(std.max(initial=0.0)), np.finfo(float).tiny)
    return np.where(varies, 1 / np.where(varies, std, 1.0), 0.0)


def _leading(rest: FloatArray, n_components: int) -> Int8Array:
    """Leading directions of rows (n, w) in eight bits, (n_components, w), zeros where there are not so many."""
    _, vectors = np.linalg.eigh(rest.T @ rest)
    leading = vectors[:, ::-1][:, :n_components].T
    levels = np.zeros((n_components, rest.shape[1]), dtype=np.int8)
    levels[: len(leading)] = np.rint(_LEVELS * leading / np.abs(leading).max(axis=1, keepdims=True))
    return levels
