"""Whether a network itself notices that maps are unlike those of its training: the set test of `inference.trust`."""

from pathlib import Path

import numpy as np

from fieldlevel.arrays import IntArray
from fieldlevel.data.suite import Suite
from fieldlevel.inference.predictor import load
from fieldlevel.inference.reference_making import complete_reference
from fieldlevel.inference.trust.judging import judge_suite


def set_p_value(weights: Path, suite: Suite, simulations: IntArray, device: str = "auto") -> float | None:
    """The p-value of some simulations of a suite as a set, given what the network answers.

    The reference of the network is made first where there is none, from its training maps, which lie beside the suite.

    Args:
        weights: of the network.
        suite: that is tested.
        simulations: their numbers.
        device: where the network runs.

    Returns:
        None where the weights are gone or the network can have no reference, as of too few simulations.
    """
    if not weights.exists() or complete_reference(weights, suite.directory, device):
        return None
    return judge_suite(load(weights, device), suite, np.unique(simulations)).set_p_value
