"""Sets of simulations in CAMELS, by their names: LH, CV, 1P, EX, BE and the Sobol sequences SB<number>."""

import re

SET_NAMES = ("LH", "CV", "1P", "EX", "BE")
"""Besides the Sobol sequences."""

_SOBOL = re.compile(r"SB\d+")


def is_sobol(set_name: str) -> bool:
    """Whether a set is a Sobol sequence, of physical numbers in all parameters of a code.

    Example:
        >>> is_sobol("SB28"), is_sobol("LH")
        (True, False)
    """
    return _SOBOL.fullmatch(set_name) is not None


def is_of_camels(set_name: str) -> bool:
    """Whether a set is one of CAMELS; others are the user's own."""
    return set_name in SET_NAMES or is_sobol(set_name)


def keeps_to_priors(set_name: str) -> bool:
    """Whether a set keeps to the priors by design; the extreme set EX and sets of the user's own need not."""
    return is_of_camels(set_name) and set_name != "EX"


def has_own_seeds(set_name: str) -> bool:
    """Whether no two simulations of a set share their seed."""
    return set_name in ("LH", "CV") or is_sobol(set_name)


def fills_priors(set_name: str) -> bool:
    """Whether a set has a seed of its own and other parameters for each simulation: a hypercube or a sequence."""
    return set_name == "LH" or is_sobol(set_name)
