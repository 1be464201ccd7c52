r"""What statistics are expected of a map given the answers of the network: a quadratic regression.

With the answers \(a\) scaled to zero mean and unit variance over the maps of the fit, the expected statistics are
linear in \(1, a_i, a_i^2, a_i a_j\), as far as there are simulations enough to fit so many terms. Maps that differ from
those of the training in their cosmology alone then have small residuals.
"""

from dataclasses import dataclass

import numpy as np

from fieldlevel.arrays import FloatArray

FARTHEST = 5.0
"""Standard deviations of the answers, beyond which the regression is not continued."""
FEWEST_A_TERM = (3, 3, 6)
"""Simulations that are needed for each term of a linear regression, one with squares, one with all products: terms that
are fitted to few simulations err by more than they explain."""
_RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Regression:
    """Statistics regressed on answers.

    Attributes:
        centre: means of the answers, (A,).
        scale: their standard deviations, 1 where they vanish, (A,).
        coefficients: of the terms, (T, S).
    """

    centre: FloatArray
    scale: FloatArray
    coefficients: FloatArray

    @classmethod
    def fit(cls, answers: FloatArray, statistics: FloatArray, n_simulations: int) -> "Regression":
        """Least squares over n maps.

        Args:
            answers: (n, A).
            statistics: (n, S).
            n_simulations: of which the maps are.

        Example:
            >>> answers = np.random.default_rng(0).normal(size=(100, 2))
            >>> truth = 1 + answers[:, :1] * answers[:, 1:]
            >>> bool(np.allclose(Regression.fit(answers, truth, 100).expected(answers), truth, atol=1e-4))
            True
        """
        centre, scale = answers.mean(0), answers.std(0)
        scale = np.where(scale > 0, scale, 1.0)
        n, n_answers = answers.shape
        n_products = n_answers * (n_answers - 1) // 2
        counts = (1 + n_answers, 1 + 2 * n_answers, 1 + 2 * n_answers + n_products)
        afforded = [count for count, each in zip(counts, FEWEST_A_TERM, strict=True) if n_simulations >= each * count]
        n_terms = max(afforded, default=1)
        terms = _terms((answers - centre) / scale, n_terms)
        normal = terms.T @ terms + _RIDGE * n * np.eye(n_terms)
        return cls(centre, scale, np.linalg.solve(normal, terms.T @ statistics))

    def expected(self, answers: FloatArray) -> FloatArray:
        """Statistics of maps with these answers, (n, A) to (n, S)."""
        scaled = ((answers - self.centre) / self.scale).clip(-FARTHEST, FARTHEST)
        return _terms(scaled, len(self.coefficients)) @ self.coefficients


def _terms(scaled: FloatArray, n_terms: int) -> FloatArray:
    """The first terms: one, the answers, their squares, their products, (n, T)."""
    rows, columns = np.triu_indices(scaled.shape[1], 1)
    products = [scaled[:, rows] * scaled[:, columns]] if n_terms > 1 + 2 * scaled.shape[1] else []
    parts = [np.ones((len(scaled), 1)), scaled, scaled**2, *products]
    return np.concatenate(parts, axis=1)[:, :n_terms]
