r"""One posterior of several maps: their product, over the prior for all of them but one.

Maps x_1 ... x_n of universes with the same parameters and different initial conditions are independent given these, so

    p(theta | x_1, ..., x_n) ~ prod_i p(x_i | theta) p(theta) ~ prod_i p(theta | x_i) / p(theta)^(n - 1).

In units of the prior p(theta) = 1, and the product remains. It is exact where the posteriors are joint (of Gaussian
copulas and flows, whose correlations are taken as those of normals, far from the edges of the prior); its
normalisation, moments and samples then come from weighted draws (`inference.product_density`). Where marginals alone
are known, each parameter is worked out for itself on a grid (`inference.marginal_product`): that takes the parameters
as independent in every map, and the product of the whole posteriors, had they been known, might be narrower and lie
elsewhere.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import as_array
from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.densities import Density
from fieldlevel.inference.marginal_product import product_of_marginals
from fieldlevel.inference.product_density import ProductDensity
from fieldlevel.wording import name_some

REASON = (
    "they are no independent looks at the parameters, as the axes of a box share all of its matter and the slabs of an "
    "axis hold Omega_m exactly"
)
"""Why maps of one box are not multiplied."""


def refuse_shared_boxes(n_maps: int, simulations: Any) -> None:
    """Refuse to multiply posteriors of maps of one box, and of maps of which nobody says whether they share one.

    Args:
        n_maps: maps.
        simulations: number or name of the simulation of each map, (n,); None where that was not said.

    Raises:
        UserError: with the maps and the reason.

    Example:
        >>> refuse_shared_boxes(3, [7, 8, 7])
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: combine: maps 0, 2 are of one box (simulation 7): they are no independent looks \
at the parameters, as the axes of a box share all of its matter and the slabs of an axis hold Omega_m exactly; give \
one map of each box
    """
    if simulations is None:
        told = f"combine: nobody says which of the {n_maps} maps share a box"
        raise UserError(f"{told}; give simulations=[...], the number of the simulation of each map")
    boxes = boxes_of(simulations, n_maps, "combine: ")
    names, number, count = np.unique(boxes, return_inverse=True, return_counts=True)
    if (count > 1).any():
        shared = int(np.argmax(count > 1))
        maps = name_some(np.flatnonzero(number == shared))
        told = f"combine: maps {maps} are of one box (simulation {shown(names[shared])})"
        raise UserError(f"{told}: {REASON}; give one map of each box")


def boxes_of(simulations: Any, n_maps: int, told: str = "") -> npt.NDArray[Any]:
    """Numbers or names of the simulations of maps as an array that can be sorted.

    Args:
        simulations: as somebody gave them; of one map it may be one number or name.
        n_maps: maps.
        told: the beginning of what is said where they are none.

    Raises:
        UserError: not one for each map, or one that is neither a number nor a name.

    Example:
        >>> boxes_of(["left", "right"], 2).tolist()
        ['left', 'right']
    """
    remedy = "give the number of the simulation of each map"
    try:
        boxes = as_array(simulations)
    except (TypeError, ValueError):
        raise UserError(f"{told}simulations {shown(simulations)} for {n_maps} maps; {remedy}") from None
    if boxes.ndim == 0 and n_maps == 1:
        boxes = boxes[None]
    if boxes.shape != (n_maps,):
        raise UserError(f"{told}simulations of shape {boxes.shape} for {n_maps} maps; {remedy}")
    each = boxes.tolist()
    if wrong := [box for box in each if not isinstance(box, int | float | str | bytes) or box != box]:  # noqa: PLR0124
        raise UserError(f"{told}simulations: {shown(wrong[0])} is no number or name; {remedy}")
    return np.asarray(each) if boxes.dtype == object else boxes


def combine_density(density: Density, seed: int = 0) -> Density:
    """The posterior of all maps together.

    Args:
        density: of n maps with different initial conditions.
        seed: of the weighted draws, where the posterior is joint.

    Returns:
        Of one row; that of the map itself where there is one alone.

    Raises:
        UserError: the maps exclude each other.
    """
    if len(density.mean) == 1:
        return density
    return ProductDensity.of(density, seed) if density.is_joint else product_of_marginals(density)
