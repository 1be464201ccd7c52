r"""What a set of maps is: its parameters with their priors, its box and slabs, its pixels, its fields and their units.

A `Layout` travels with the maps: from the folder to the device, into the weights file of a network, and from there with
its predictions to measures, figures and report. Where a folder says nothing else (`fieldlevel.data.layout_files`) and
the suite is not known to be otherwise (`fieldlevel.suites`) it is that of the CAMELS Multifield Dataset.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (CAMELS), arXiv:2109.10915 (CAMELS Multifield Dataset).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import BoolArray, FloatArray, as_array
from fieldlevel.errors import UserError, shown

if TYPE_CHECKING:
    from torch import Tensor

CRITICAL_DENSITY = 2.775e11
"""Critical density today [(Msun/h) / (Mpc/h)^3]."""

FAR_OUTSIDE_SIGMAS = 3.0
"""Beyond an edge of the prior, in standard deviations of the answer: nearer, a mean may be outside by chance."""
FAR_OUTSIDE_WIDTHS = 0.1
"""Of the width of the prior: farther outside is no posterior inside the prior, whatever its standard deviation."""
LARGEST_STD = 0.5
"""Of the width of the prior: no distribution inside it has a larger one (Popoviciu's inequality)."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*(\[[A-Za-z0-9][\w.+-]*\])?", re.ASCII)
SAME_LENGTH = 1e-6
"""Relative difference of lengths that are the same but for round-off."""
LONGEST_TEXT = 300
"""Characters of a unit or a name of initial conditions."""
_LONGEST_NAME, _LONGEST_SYMBOL = 50, 80
"""Characters of a parameter's, without the suite that it belongs to alone."""
_MOST_PARAMETERS = 1000
_MOST_NAMED = 8
"""Parameters that the `repr` of a layout names."""
_MOST_SLABS = 1_000_000


@dataclass(frozen=True)
class Parameter:
    r"""One parameter of the simulations.

    Attributes:
        name: in plain text, letters, digits and single underscores, e.g. `"Omega_m"`; one that belongs to a suite alone
            has it in brackets, `"A_SN1[SIMBA]"`.
        symbol: for figures, LaTeX without dollar signs; made of the name when empty.
        low: lower edge of the prior.
        high: upper edge of the prior.
        logarithmic: whether the prior is uniform in the logarithm.
        fiducial: value of the fiducial simulation; None where none is known.
        cosmological: whether it means something in gravity-only simulations too.

    Raises:
        UserError: a name or a symbol that is none, edges that hold no prior, a fiducial value that is not finite.

    Example:
        >>> Parameter("A_SN1", low=0.25, high=4.0, logarithmic=True).symbol
        '{\\rm A}_{\\rm SN1}'
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    symbol: str = ""
    low: float = 0.0
    high: float = 1.0
    logarithmic: bool = False
    fiducial: float | None = None
    cosmological: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or len(self.base) > _LONGEST_NAME:
            told = f"give letters, digits and single underscores, at most {_LONGEST_NAME}, e.g. Omega_m"
            raise UserError(f"parameter {shown(self.name)}: {told}")
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            told = f"prior from {self.low} to {self.high}"
            raise UserError(f"parameter {self.name}: {told}; give low < high, a finite way apart")
        if self.logarithmic and self.low <= 0:
            raise UserError(f"parameter {self.name}: logarithmic from {self.low}; give low > 0, or logarithmic: false")
        if self.fiducial is not None and not math.isfinite(self.fiducial):
            raise UserError(f"parameter {self.name}: fiducial = {self.fiducial}; give a finite number, or leave it out")
        if not self.symbol.strip():
            object.__setattr__(self, "symbol", _symbol_of(self.name))
        if not is_line(self.symbol, _LONGEST_SYMBOL + 2 * len(self.suite) + len(_ABOVE)):
            told = f"give LaTeX of at most {_LONGEST_SYMBOL} characters in one line, without dollar signs"
            raise UserError(f"parameter {self.name}: symbol {shown(self.symbol)}; {told}")

    @property
    def base(self) -> str:
        """The name without the suite in brackets."""
        return self.name.partition("[")[0]

    @property
    def suite(self) -> str:
        """The suite that it belongs to alone, empty for a parameter of all suites."""
        return self.name.partition("[")[2].rstrip("]")

    def of_suite(self, suite: str) -> "Parameter":
        """The same parameter as one of a suite alone.

        Example:
            >>> CAMELS_PARAMETERS[2].of_suite("SIMBA").name
            'A_SN1[SIMBA]'
        """
        above = _ABOVE.format(suite.replace("_", r"\_"))
        return replace(self, name=f"{self.base}[{suite}]", symbol=f"{self.symbol}{above}")


_ABOVE = r"^{{\rm {}}}"
"""A suite above a symbol."""


def is_line(text: str, longest: int = LONGEST_TEXT) -> bool:
    """Whether a text is one line of at most so many characters."""
    return len(text) <= longest and text.isprintable()


def _symbol_of(name: str) -> str:
    base, _, index = name.partition("[")[0].partition("_")
    greek = rf"\{base}" if base in ("Omega", "sigma") else rf"{{\rm {base}}}" if len(base) > 1 or base == "A" else base
    return f"{greek}_{{\\rm {index.replace('_', ',')}}}" if index else greek


CAMELS_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("Omega_m", r"\Omega_{\rm m}", 0.1, 0.5, fiducial=0.3, cosmological=True),
    Parameter("sigma_8", r"\sigma_8", 0.6, 1.0, fiducial=0.8, cosmological=True),
    Parameter("A_SN1", r"A_{\rm SN1}", 0.25, 4.0, logarithmic=True, fiducial=1.0),
    Parameter("A_AGN1", r"A_{\rm AGN1}", 0.25, 4.0, logarithmic=True, fiducial=1.0),
    Parameter("A_SN2", r"A_{\rm SN2}", 0.5, 2.0, logarithmic=True, fiducial=1.0),
    Parameter("A_AGN2", r"A_{\rm AGN2}", 0.5, 2.0, logarithmic=True, fiducial=1.0),
)
"""Of the latin hypercubes, in the order of the columns of the parameter files of CMD."""

SURFACE_DENSITY = "(Msun/h)/(Mpc/h)^2"
"""Unit of maps of mass."""

CMD_UNITS: dict[str, str] = {
    **dict.fromkeys(("Mtot", "Mcdm", "Mgas", "Mstar", "HI"), SURFACE_DENSITY),
    **{"T": "K", "P": "h^2 Msun (km/s)^2/kpc^3", "Z": "mass fraction", "ne": "h^2/cm^3 (Mpc/h)"},
    **{"B": "Gauss", "MgFe": ""},
    **{"Vgas": "km/s", "Vcdm": "km/s"},
}
"""Of the fields of the CAMELS Multifield Dataset."""

LONGEST_SIDE = 16_384
"""Pixels a side that a map may have."""


@dataclass(frozen=True)
class Layout:
    """What a set of maps is; the defaults are those of the CAMELS Multifield Dataset.

    Attributes:
        parameters: of each simulation, in the order of the columns of the table of labels.
        box_size_mpc_h: side of the periodic box.
        slab_thickness_mpc_h: of a map.
        n_slabs: along each axis.
        n_axes: along which slabs are cut.
        n_pixels: a side of a map; 0 where nobody has looked at the maps yet.
        redshift: of the snapshots.
        units: of the fields, by their names.
        is_mock: whether the maps are simulated by this package.
        initial_conditions: whose they are: simulations of one number share theirs in all sets that name the same;
            empty where no other set has them.

    Raises:
        UserError: a parameter or a unit twice, a length or a number that no box has.

    Example:
        >>> layout = Layout()
        >>> layout.select(["Omega_m", "sigma_8"])
        <Layout: Omega_m, sigma_8; 5 slabs of 5 Mpc/h of a box of 25 Mpc/h, z = 0>
        >>> layout.n_maps, layout.names[:2], f"{layout.slab_mass(0.3):.3e}"
        (15, ('Omega_m', 'sigma_8'), '2.602e+14')
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    parameters: tuple[Parameter, ...] = CAMELS_PARAMETERS
    box_size_mpc_h: float = 25.0
    slab_thickness_mpc_h: float = 5.0
    n_slabs: int = 5
    n_axes: int = 3
    n_pixels: int = 0
    redshift: float = 0.0
    units: tuple[tuple[str, str], ...] = tuple(CMD_UNITS.items())
    is_mock: bool = False
    initial_conditions: str = ""

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if not 1 <= len(names) <= _MOST_PARAMETERS:
            raise UserError(f"layout: {len(names)} parameters; give 1 to {_MOST_PARAMETERS}")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"layout: parameter {twice} twice; give each once")
        for length in ("box_size_mpc_h", "slab_thickness_mpc_h"):
            if not 0 < getattr(self, length) < math.inf:
                raise UserError(f"layout: {length} = {getattr(self, length)}; give a length in Mpc/h")
        if self.slab_thickness_mpc_h > self.box_size_mpc_h * (1 + 1e-6):
            told = f"slab_thickness_mpc_h = {self.slab_thickness_mpc_h:g} in a box of {self.box_size_mpc_h:g}"
            raise UserError(f"layout: {told}; give at most the box")
        if not (1 <= self.n_slabs <= _MOST_SLABS and 1 <= self.n_axes <= 3 and 0 <= self.n_pixels <= LONGEST_SIDE):
            told = f"n_slabs = {self.n_slabs}, n_axes = {self.n_axes}, n_pixels = {self.n_pixels}"
            raise UserError(f"layout: {told}; give 1 or more slabs, 1 to 3 axes and at most {LONGEST_SIDE} pixels")
        if not (math.isfinite(self.redshift) and self.redshift > -1):
            raise UserError(f"layout: redshift = {self.redshift}; give a number above -1")

        fields = [field for field, _ in self.units]
        if twice := next((field for field in fields if fields.count(field) > 1), None):
            raise UserError(f"layout: unit of {shown(twice)} twice; give each once")
        texts = [self.initial_conditions, *(text for unit in self.units for text in unit)]
        if wrong := next((text for text in texts if not is_line(text)), None):
            raise UserError(f"layout: text {shown(wrong)}; give at most {LONGEST_TEXT} characters of one line")

    def __repr__(self) -> str:
        names = self.names if len(self.names) <= _MOST_NAMED else (*self.names[: _MOST_NAMED - 1], "...")
        pixels = f", {self.n_pixels} pixels a side" if self.n_pixels else ""
        return (
            f"<Layout{' of mock maps' * self.is_mock}: {', '.join(names)}; {self.slabs}{pixels}, z = {self.redshift:g}>"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in the order of their columns."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def n_parameters(self) -> int:
        """Of each simulation."""
        return len(self.parameters)

    @property
    def lows(self) -> FloatArray:
        """Lower edges of the priors, (P,)."""
        return np.array([parameter.low for parameter in self.parameters])

    @property
    def highs(self) -> FloatArray:
        """Upper edges of the priors, (P,)."""
        return np.array([parameter.high for parameter in self.parameters])

    @property
    def cosmological(self) -> tuple[Parameter, ...]:
        """Parameters that mean something in gravity-only simulations too."""
        return tuple(parameter for parameter in self.parameters if parameter.cosmological)

    @property
    def cosmological_columns(self) -> list[int]:
        """Columns of these."""
        return [column for column, parameter in enumerate(self.parameters) if parameter.cosmological]

    @property
    def n_maps(self) -> int:
        """Maps of one simulation; map number = n_maps * simulation + n_slabs * axis + slab."""
        return self.n_axes * self.n_slabs

    @property
    def fills_box(self) -> bool:
        """Whether the slabs of an axis hold all the mass of the box."""
        return math.isclose(self.n_slabs * self.slab_thickness_mpc_h, self.box_size_mpc_h, rel_tol=SAME_LENGTH)

    def has_same_slabs(self, other: "Layout") -> bool:
        """Whether the slabs and the box of another layout are as large as these, but for round-off."""
        return all(
            math.isclose(getattr(self, length), getattr(other, length), rel_tol=SAME_LENGTH)
            for length in ("box_size_mpc_h", "slab_thickness_mpc_h")
        )

    @property
    def slabs(self) -> str:
        """Slabs and box in words."""
        return f"{self.n_slabs} slabs of {self.slab_thickness_mpc_h:g} Mpc/h of a box of {self.box_size_mpc_h:g} Mpc/h"

    def mean_density(self, Omega_m: float) -> float:
        """Mean surface density of all matter in a slab [(Msun/h)/(Mpc/h)^2]."""
        return CRITICAL_DENSITY * Omega_m * self.slab_thickness_mpc_h

    def slab_mass(self, Omega_m: float) -> float:
        """Mean mass of a slab [Msun/h]."""
        return self.mean_density(Omega_m) * self.box_size_mpc_h**2

    def largest_wavenumber(self, n_pixels: int) -> float:
        """In the corner of the Fourier plane of a map of n_pixels a side [h/Mpc]."""
        return math.sqrt(2) * math.pi * n_pixels / self.box_size_mpc_h

    def unit(self, field: str) -> str:
        """Unit of a field, empty where none is known."""
        return dict(self.units).get(field, "")

    def is_surface_density(self, field: str) -> bool:
        """Whether a field counts mass, so that the pixels of a slab add up to it."""
        return field != "HI" and self.unit(field) == SURFACE_DENSITY

    def column(self, name: str) -> int:
        """Column of a parameter.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.names:
            raise UserError(f"no parameter {shown(name)}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def has(self, *names: str) -> bool:
        """Whether there are parameters of all these names."""
        return set(names) <= set(self.names)

    def select(self, names: Sequence[str]) -> "Layout":
        """The layout with some of the parameters, in this order.

        Raises:
            UserError: there is none of a name.
        """
        return replace(self, parameters=tuple(self.parameters[self.column(name)] for name in names))

    def to_unit_interval(self, theta: "npt.ArrayLike | Tensor") -> FloatArray:
        """Map parameters from their priors to [0, 1], linearly in all of them, as the released CMD scripts do.

        Args:
            theta: physical parameters, shape (..., P), columns in the order of `parameters`; array, tensor or list.

        Returns:
            Array of the same shape.

        Example:
            >>> Layout().to_unit_interval(np.array([0.3, 0.8, 4.0, 0.25, 0.5, 2.0])).round(3).tolist()
            [0.5, 0.5, 1.0, 0.0, 0.0, 1.0]
        """
        unit: FloatArray = (as_array(theta) - self.lows) / (self.highs - self.lows)
        return unit

    def from_unit_interval(
        self, mean: "npt.ArrayLike | Tensor", std: "npt.ArrayLike | Tensor"
    ) -> tuple[FloatArray, FloatArray]:
        """Map posterior means and standard deviations of unit-interval targets back to physical units.

        Args:
            mean: posterior means of the targets, shape (..., P).
            std: posterior standard deviations, the same shape.

        Returns:
            Mean and standard deviation in physical units, the same shapes.
        """
        width = self.highs - self.lows
        return as_array(mean) * width + self.lows, as_array(std) * width

    def outside_prior(self, mean: "npt.ArrayLike | Tensor", std: "npt.ArrayLike | Tensor") -> BoolArray:
        """Which posteriors cannot be ones inside the prior.

        That is where the mean lies beyond an edge by more than three of its standard deviations or by more than a tenth
        of the prior's width, or the standard deviation is above half of the width.

        Args:
            mean: posterior means, shape (..., P), columns in the order of `parameters`.
            std: posterior standard deviations, the same shape.

        Returns:
            For each parameter of each map, the same shape.

        Example:
            >>> mean, std = np.array([0.3, 1.0266, 1, 1, 1, 1]), np.array([0.01, 0.0028, 1, 1, 0.1, 0.1])
            >>> Layout().outside_prior(mean, std).tolist()
            [False, True, False, False, False, False]
        """
        mean, std, low, high = as_array(mean), as_array(std), self.lows, self.highs
        beyond = np.maximum(low - mean, mean - high)
        is_beyond = (beyond > 0) & (beyond > FAR_OUTSIDE_SIGMAS * std)
        width = high - low
        outside: BoolArray = is_beyond | (beyond > FAR_OUTSIDE_WIDTHS * width) | (std > LARGEST_STD * width)
        return outside
