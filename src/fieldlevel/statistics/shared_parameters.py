"""Which parameters several sets of maps have in common, and which of them results are about first."""

from collections.abc import Iterable

from fieldlevel.layout import Layout, Parameter


def shared_parameters(layouts: Iterable[Layout]) -> tuple[Parameter, ...]:
    """Parameters whose names all layouts have, as the first describes them and in its order.

    Example:
        >>> one, other = Layout(), Layout().select(["A_SN1", "sigma_8"])
        >>> [parameter.name for parameter in shared_parameters([one, other])]
        ['sigma_8', 'A_SN1']
    """
    first, *others = layouts
    return tuple(parameter for parameter in first.parameters if all(other.has(parameter.name) for other in others))


def main_parameters(layouts: Iterable[Layout]) -> tuple[Parameter, ...]:
    """The cosmological ones among the parameters that all layouts have; all of these where none is cosmological.

    Example:
        >>> [parameter.name for parameter in main_parameters([Layout()])]
        ['Omega_m', 'sigma_8']
    """
    shared = shared_parameters(layouts)
    return tuple(parameter for parameter in shared if parameter.cosmological) or shared
