"""Whether a network itself notices that maps are unlike those of its training: the set test of `inference.trust`."""

import importlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fieldlevel.arrays import IntArray
from fieldlevel.data.suite import Suite
from fieldlevel.inference.predictor import load

_TRUST = "fieldlevel.inference.trust"


def set_p_value(weights: Path, suite: Suite, simulations: IntArray, device: str = "auto") -> float | None:
    """The p-value of some simulations of a suite as a set, given what the network answers.

    Args:
        weights: of the network.
        suite: that is tested.
        simulations: their numbers.
        device: where the network runs.

    Returns:
        None where the network has no reference beside its weights, or this version knows of none.
    """
    if not weights.exists() or find_spec(_TRUST) is None:
        return None
    trust = importlib.import_module(_TRUST)
    if trust.find_reference(weights) is None:
        return None
    judging = importlib.import_module(f"{_TRUST}.judging")
    found: float | None = judging.judge_suite(load(weights, device), suite, np.unique(simulations)).set_p_value
    return found
