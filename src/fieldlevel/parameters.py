r"""The six parameters of the CAMELS latin hypercubes, the suites and the fields.

Everything that the rest of the package knows about a parameter (symbol, LaTeX, prior, column) or a field (unit) stands
here once.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (CAMELS), arXiv:2109.10915 (CAMELS Multifield Dataset).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Parameter:
    """One parameter of the latin hypercube.

    Attributes:
        name: symbol in plain text, e.g. `"Omega_m"`.
        latex: symbol for figures, without dollar signs.
        minimum: lower edge of the prior.
        maximum: upper edge of the prior.
        logarithmic: whether the prior is uniform in the logarithm.
        fiducial: value of the fiducial simulation.
        cosmological: True for Omega_m and sigma_8, the two that mean anything in N-body suites.
    """

    name: str
    latex: str
    minimum: float
    maximum: float
    logarithmic: bool
    fiducial: float
    cosmological: bool


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("Omega_m", r"\Omega_{\rm m}", 0.1, 0.5, False, 0.3, True),
    Parameter("sigma_8", r"\sigma_8", 0.6, 1.0, False, 0.8, True),
    Parameter("A_SN1", r"A_{\rm SN1}", 0.25, 4.0, True, 1.0, False),
    Parameter("A_AGN1", r"A_{\rm AGN1}", 0.25, 4.0, True, 1.0, False),
    Parameter("A_SN2", r"A_{\rm SN2}", 0.5, 2.0, True, 1.0, False),
    Parameter("A_AGN2", r"A_{\rm AGN2}", 0.5, 2.0, True, 1.0, False),
)
"""In the column order of the CMD parameter files: supernova and AGN columns are interleaved."""

PARAMETER_NAMES: tuple[str, ...] = tuple(p.name for p in PARAMETERS)
MINIMA: FloatArray = np.array([p.minimum for p in PARAMETERS])
MAXIMA: FloatArray = np.array([p.maximum for p in PARAMETERS])

COSMOLOGICAL_NAMES: tuple[str, ...] = tuple(p.name for p in PARAMETERS if p.cosmological)
COSMOLOGICAL_COLUMNS = [column for column, parameter in enumerate(PARAMETERS) if parameter.cosmological]
"""Both of Omega_m and sigma_8, which mean something in gravity-only twins too."""

HUBBLE = 0.6711
"""Of all CAMELS simulations of six parameters."""

CRITICAL_DENSITY = 2.775e11
"""Critical density today [(Msun/h) / (Mpc/h)^3]."""

MAPS_PER_SIMULATION = 15
"""5 slabs along each of 3 axes; map number = 15 * simulation + 5 * axis + slab."""

SLABS_PER_AXIS = 5

SLAB_THICKNESS_MPC_H = 5.0
BOX_SIZE_MPC_H = 25.0

HYDRO_SUITES = ("IllustrisTNG", "SIMBA", "Astrid")
MOCK_SUITES: tuple[Literal["MockTNG"], Literal["MockSIMBA"]] = ("MockTNG", "MockSIMBA")
NBODY_PREFIX = "Nbody_"
MOCK_MARK = "MOCK DATA"
"""Stands on every result of mock maps."""
MOCK_ORIGIN = f"{MOCK_MARK} simulated by fieldlevel, not CAMELS"
"""Stands in the header of every mock snapshot."""

SURFACE_DENSITIES = ("Mtot", "Mcdm", "Mgas", "Mstar")
SURFACE_DENSITY_UNIT = r"$(M_\odot/h)\,/\,({\rm Mpc}/h)^2$"

FEEDBACK_UNITS = {"IllustrisTNG": (3.6, 1.0, 7.4, 20.0), "SIMBA": (1.0, 20.0, 1.6, 7000.0)}
"""Fiducial values of A_SN1, A_AGN1, A_SN2, A_AGN2 in tables of physical numbers, as those of the SB sets are."""

LABEL_TABLES = {"MockTNG": "IllustrisTNG", "MockSIMBA": "SIMBA"}
"""Whose latin hypercube a mock suite takes its labels and seeds from."""

_WIDE_AGN2 = ("Astrid", "EAGLE", "Swift-EAGLE", "SwiftEAGLE", "Magneticum")
_OTHER_PRIORS = {(suite, "A_AGN2"): (0.25, 4.0) for suite in _WIDE_AGN2}

UNSUPPORTED_ORDERS = {"Ramses": ("Omega_m", "sigma_8", "A_SN1", "A_SN2", "A_AGN1", "A_AGN2")}
"""Suites whose tables have another order of columns and physical numbers in them."""

KNOWN_SUITES = (*HYDRO_SUITES, *MOCK_SUITES, *_WIDE_AGN2[1:], *UNSUPPORTED_ORDERS)
"""Hydrodynamic suites that the package knows something of."""


def prior_range(suite: str, parameter: Parameter) -> tuple[float, float]:
    """Prior of a parameter in a suite: that of `PARAMETERS`, but for A_AGN2 in Astrid, EAGLE and Magneticum.

    Example:
        >>> prior_range("Astrid", PARAMETERS[5]), prior_range("SIMBA", PARAMETERS[5])
        ((0.25, 4.0), (0.5, 2.0))
    """
    return _OTHER_PRIORS.get((hydro_twin(suite), parameter.name), (parameter.minimum, parameter.maximum))


def prior_ranges(suite: str) -> tuple[FloatArray, FloatArray]:
    """Lower and upper edges of the priors of a suite, (6,) each, in the order of `PARAMETERS`."""
    minima, maxima = np.array([prior_range(suite, parameter) for parameter in PARAMETERS]).T
    return minima, maxima


def to_unit_interval(theta: FloatArray, minima: FloatArray = MINIMA, maxima: FloatArray = MAXIMA) -> FloatArray:
    """Map parameters from their prior ranges to [0, 1], linearly in all six, as the released CMD scripts do.

    Args:
        theta: physical parameters, shape (..., 6), columns in the order of `PARAMETERS`.
        minima: lower edges of the priors, shape (6,).
        maxima: upper edges.

    Returns:
        Array of the same shape.

    Example:
        >>> to_unit_interval(np.array([0.3, 0.8, 4.0, 0.25, 0.5, 2.0])).round(3).tolist()
        [0.5, 0.5, 1.0, 0.0, 0.0, 1.0]
    """
    return (theta - minima) / (maxima - minima)


def from_unit_interval(
    mean: FloatArray, std: FloatArray, minima: FloatArray = MINIMA, maxima: FloatArray = MAXIMA
) -> tuple[FloatArray, FloatArray]:
    """Map a posterior mean and standard deviation from unit-interval targets back to physical units.

    Args:
        mean: posterior means of the unit-interval targets, shape (..., 6).
        std: posterior standard deviations, the same shape.
        minima: lower edges of the priors that the targets were made with, shape (6,).
        maxima: upper edges.

    Returns:
        Mean and standard deviation in physical units, the same shapes.
    """
    return mean * (maxima - minima) + minima, std * (maxima - minima)


FAR_OUTSIDE_SIGMAS = 3.0
"""Beyond an edge of the prior, in standard deviations of the answer: nearer, a mean may be outside by chance."""
FAR_OUTSIDE_WIDTHS = 0.1
"""Of the width of the prior: farther outside is no posterior inside the prior, whatever its standard deviation."""
LARGEST_STD = 0.5
"""Of the width of the prior: no distribution inside it has a larger one (Popoviciu's inequality)."""


def outside_prior(
    mean: FloatArray, std: FloatArray, minima: FloatArray = MINIMA, maxima: FloatArray = MAXIMA
) -> npt.NDArray[np.bool_]:
    """Which posteriors cannot be ones inside the prior.

    That is where the mean lies beyond an edge by more than three of its standard deviations or by more than a tenth of
    the prior's width, or the standard deviation is above half of the width.

    Args:
        mean: posterior means, shape (..., 6), columns in the order of `PARAMETERS`.
        std: posterior standard deviations, the same shape.
        minima: lower edges of the priors, shape (6,).
        maxima: upper edges.

    Returns:
        For each parameter of each map, the same shape.

    Example:
        >>> outside_prior(np.array([0.3, 1.0266, 1, 1, 1, 1]), np.array([0.01, 0.0028, 1, 1, 0.1, 0.1])).tolist()
        [False, True, False, False, False, False]
    """
    beyond = np.maximum(minima - mean, mean - maxima)
    width = maxima - minima
    is_beyond = (beyond > 0) & (beyond > FAR_OUTSIDE_SIGMAS * std)
    outside: npt.NDArray[np.bool_] = is_beyond | (beyond > FAR_OUTSIDE_WIDTHS * width) | (std > LARGEST_STD * width)
    return outside


def outside_cosmology(mean: FloatArray, std: FloatArray) -> npt.NDArray[np.bool_]:
    """`outside_prior` of Omega_m and sigma_8 alone, whose priors are the same in all suites, shape (..., 2)."""
    outside: npt.NDArray[np.bool_] = outside_prior(mean, std)[..., COSMOLOGICAL_COLUMNS]
    return outside


def is_mock(suite: str) -> bool:
    """Whether a suite was simulated by this package rather than by CAMELS."""
    return hydro_twin(suite) in MOCK_SUITES


def is_nbody(suite: str) -> bool:
    """Whether a suite is gravity-only, so that only Omega_m and sigma_8 mean anything."""
    return suite.startswith(NBODY_PREFIX)


def nbody_twin(suite: str) -> str:
    """Name of the gravity-only suite with the same initial conditions.

    Example:
        >>> nbody_twin("SIMBA")
        'Nbody_SIMBA'
    """
    return suite if is_nbody(suite) else NBODY_PREFIX + suite


def hydro_twin(suite: str) -> str:
    """Name of the hydrodynamic suite with the same initial conditions.

    Example:
        >>> hydro_twin("Nbody_SIMBA")
        'SIMBA'
    """
    return suite.removeprefix(NBODY_PREFIX)
