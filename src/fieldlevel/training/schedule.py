r"""Learning rate as a function of the step, so that a resumed run needs no state of a scheduler.

`triangular` is the cyclic rate of the released CMD scripts (PyTorch's `CyclicLR`): 500 steps up from 1e-9 to the
highest rate, 500 down, and again. `one-cycle` rises linearly during the first fraction of the steps and falls along
half a cosine,

    lr(t) = lr_max (1 + cos(pi t)) / 2,    t from 0 at the top to 1 at the last step.

References:
    Smith 2017, arXiv:1506.01186 (cyclical rates); Smith & Topin 2019, arXiv:1708.07120 (one cycle).
"""

import math

from fieldlevel.training.train_spec import OptimiserSpec

TRIANGLE_BASE = 1e-9
"""Lowest learning rate of the triangular schedule."""
TRIANGLE_STEPS = 500
"""Steps up, and steps down."""


def learning_rate(optimiser: OptimiserSpec, step: int, n_steps: int) -> float:
    """Learning rate of one step.

    Args:
        optimiser: schedule, highest rate and warm-up.
        step: from 0 to n_steps - 1.
        n_steps: steps in the whole run; the triangular schedule does not look at it.

    Example:
        >>> spec = OptimiserSpec(learning_rate=1.0, schedule="one-cycle", warm_up=0.4)
        >>> [round(learning_rate(spec, step, 5), 2) for step in range(5)]
        [0.5, 1.0, 0.75, 0.25, 0.0]
    """
    if optimiser.schedule == "triangular":
        return _triangular(optimiser.learning_rate, step)
    return _one_cycle(optimiser.learning_rate, step, n_steps, round(optimiser.warm_up * n_steps))


def _triangular(highest: float, step: int) -> float:
    from_top = abs(step % (2 * TRIANGLE_STEPS) - TRIANGLE_STEPS) / TRIANGLE_STEPS
    return TRIANGLE_BASE + (highest - TRIANGLE_BASE) * (1.0 - from_top)


def _one_cycle(highest: float, step: int, n_steps: int, n_rising: int) -> float:
    if step < n_rising:
        return highest * (step + 1) / n_rising
    fall = (step + 1 - n_rising) / (n_steps - n_rising)
    return highest * (1.0 + math.cos(math.pi * fall)) / 2.0
