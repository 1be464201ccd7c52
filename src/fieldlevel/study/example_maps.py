"""Which maps stand in Fig. 1: universes that are as much alike as possible in all suites."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite

N_EXAMPLES = 4
"""Columns of the figure."""


def choose_examples(suites: Mapping[str, Suite], split: SplitSpec) -> dict[str, npt.NDArray[np.int64]]:
    """Training simulations for Fig. 1: the k-th of every suite has nearly the cosmology of the k-th of the first.

    Those of the first suite are spread over the range of its first cosmological parameter; among the training
    simulations of the others the nearest in all cosmological parameters are taken, in units of their
    priors, none twice.

    Args:
        suites: by name, in the order of the rows.
        split: of their simulations.

    Returns:
        Numbers of simulations by suite, each of shape (n_examples,).
    """
    first = next(iter(suites.values()))
    known = {name: split.divide(suite.n_simulations).train for name, suite in suites.items()}
    universes = {name: _in_priors(suite)[known[name]] for name, suite in suites.items()}
    ordered = np.argsort(next(iter(universes.values()))[:, 0], kind="stable")
    places = ((np.arange(N_EXAMPLES) + 0.5) / N_EXAMPLES * len(ordered)).astype(int)
    wanted = _in_priors(first)[next(iter(known.values()))[ordered[places]]]
    return {name: known[name][nearest_rows(universes[name], wanted)] for name in suites}


def nearest_rows(rows: FloatArray, wanted: FloatArray) -> list[int]:
    """For each wanted point, shape (n, d), in turn the nearest row of shape (m, d) that is not yet taken.

    A row is taken again only where there are fewer rows than points.

    Example:
        >>> nearest_rows(np.array([[0.0], [1.0], [5.0]]), np.array([[0.9], [0.8]]))
        [1, 0]
    """
    taken: list[int] = []
    for point in wanted:
        distance = ((rows - point) ** 2).sum(axis=1)
        if len(set(taken)) < len(rows):
            distance[taken] = np.inf
        taken.append(int(np.argmin(distance)))
    return taken


def _in_priors(suite: Suite) -> FloatArray:
    """Cosmological parameters of every simulation, 0 and 1 at the ends of their priors, shape (n, n_cosmological)."""
    columns: Sequence[int] = list(suite.layout.cosmological_columns) or [0]
    lows, highs = suite.layout.lows[columns], suite.layout.highs[columns]
    return np.asarray((suite.parameters[:, columns] - lows) / (highs - lows))
