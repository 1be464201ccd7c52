"""Which maps have answers that no posterior inside the prior can have: the network has seen nothing like them.

The cosmological parameters tell, whose priors are those of the simulations in all suites; where a network has none, all
of its parameters do. What is outside is said in `Layout.outside_prior`.
"""

import numpy as np

from fieldlevel.arrays import BoolArray, FloatArray, IntArray
from fieldlevel.layout import Layout
from fieldlevel.statistics.shared_parameters import main_parameters


def telling_names(layout: Layout) -> tuple[str, ...]:
    """Parameters whose posteriors are looked at."""
    return tuple(parameter.name for parameter in main_parameters([layout]))


def telling_posteriors(mean: FloatArray, std: FloatArray, layout: Layout) -> BoolArray:
    """Which posteriors of these parameters cannot be ones inside the prior.

    Args:
        mean: posterior means, shape (n, P), columns in the order of the layout's parameters.
        std: posterior standard deviations, the same shape.
        layout: with the priors of the network's targets.

    Returns:
        For each of `telling_names`, shape (n, k).
    """
    columns = [layout.column(name) for name in telling_names(layout)]
    outside: BoolArray = layout.outside_prior(mean, std)[:, columns]
    return outside


def outside_maps(mean: FloatArray, std: FloatArray, layout: Layout) -> IntArray:
    """Places of the maps with at least one such posterior; arguments as of `telling_posteriors`."""
    return np.flatnonzero(telling_posteriors(mean, std, layout).any(axis=1))
