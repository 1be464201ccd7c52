r"""Maps from a part of the particles: does a network weigh them?

All simulations of a suite have the same number of particles, so the mass of one tells Omega_m, and a network that sees
the discs of single particles can weigh them. Of the same universe a random fraction f of the particles of each kind is
kept here and gets its mass back: the density field is the same, its particles are heavier. An honest answer stays.

Whether a particle is kept is a matter of its number, the seed and its kind alone,

    kept if u(number, seed, kind) < f,

so it is the same on every device, the kept quarter is part of the kept half, and kinds are thinned independently. Mass
is given back by the factor M / M_kept, the masses of all and of the kept particles of a kind, so that the mass of each
kind is conserved to round-off, not on average only; of equal particles that is n / n_kept. Every m-th particle of the
lattice along each axis is a part without the noise of a random draw.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (the maps and the networks that this test is for).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.fields import BLACK_HOLES, DARK_MATTER, GAS, STARS
from fieldlevel.numerics.random import uniform

_KINDS = (DARK_MATTER, GAS, STARS, BLACK_HOLES)
_FIRST_STREAM = 1000
"""Random streams of `fieldlevel.numerics.random` from here on, one for each kind and draw."""
FRACTIONS_IN_WORDS = "numbers above 0 and at most 1, each once"


def set_name_of(set_name: str, fraction: float, kind: str = "") -> str:
    """Name of the set of maps from a fraction of the particles: that of all particles, `thin`, one over the fraction.

    Args:
        set_name: of the maps from all particles.
        fraction: that is kept.
        kind: the only kind that is thinned, as the CMD field that it makes; all kinds when empty.

    Example:
        >>> set_name_of("LH", 0.5), set_name_of("LH", 0.3), set_name_of("LH", 0.5, "Mcdm")
        ('LHthin2', 'LHthin3p333', 'LHthin2cdm')
    """
    one_in = f"{1 / fraction:.3f}".rstrip("0").rstrip(".").replace(".", "p")
    return f"{set_name}thin{one_in}{kind.removeprefix('M')}"


def lattice_set_name(set_name: str, every: int) -> str:
    """Name of the set of maps from every m-th particle of the lattice along each axis.

    Example:
        >>> lattice_set_name("LH", 2)
        'LHlattice2'
    """
    return f"{set_name}lattice{every}"


def are_fractions(fractions: Sequence[float]) -> bool:
    """Whether these are fractions of particles to keep that give sets of different names."""
    are_possible = all(0 < fraction <= 1 for fraction in fractions)
    return are_possible and len({set_name_of("", fraction) for fraction in fractions}) == len(fractions)


@dataclass(frozen=True)
class Thinning:
    """A random part of the particles of each kind.

    Attributes:
        fraction: that is kept.
        seed: of the draw.
        draw: which of several independent parts of one simulation.
    """

    fraction: float
    seed: int
    draw: int = 0

    def kept(self, number: Tensor, kind: str) -> Tensor:
        """Which particles are kept; at least one, so that there is one to carry the mass of the kind.

        Args:
            number: (n,) int64, of each particle: its identifier or its place on the lattice.
            kind: of the particles, one of `fieldlevel.mapmaking.fields`.

        Returns:
            (n,) bool, the same on every device.

        Example:
            >>> half = Thinning(0.5, seed=1).kept(torch.arange(1000), "gas")
            >>> quarter = Thinning(0.25, seed=1).kept(torch.arange(1000), "gas")
            >>> 450 < int(half.sum()) < 550, bool((quarter <= half).all())
            (True, True)
        """
        stream = _FIRST_STREAM + len(_KINDS) * self.draw + _KINDS.index(kind)
        lot = uniform(number, self.seed, stream)
        mask = lot < self.fraction
        return mask if not len(mask) or bool(mask.any()) else lot == lot.min()


def on_sublattice(number: Tensor, n_side: int, every: int) -> Tensor:
    """Which particles of a lattice are on every m-th of its planes along each axis.

    Args:
        number: (n,) int64, places on a lattice of `n_side`^3 points, the last axis fastest.
        n_side: points a side.
        every: m.

    Returns:
        (n,) bool; of a kind that has nothing there, the first particle, to carry its mass.

    Example:
        >>> on_sublattice(torch.arange(64), n_side=4, every=2).nonzero().flatten().tolist()
        [0, 2, 8, 10, 32, 34, 40, 42]
    """
    i, j, k = number // n_side**2, number // n_side % n_side, number % n_side
    mask = (i % every == 0) & (j % every == 0) & (k % every == 0)
    return mask if not len(mask) or bool(mask.any()) else number == number.min()


def mass_given_back(mass: Tensor, kept: Tensor) -> float:
    """Factor for the masses of the kept particles that restores the mass of all.

    Args:
        mass: (n,) of all particles of a kind.
        kept: (n,) bool.

    Returns:
        M / M_kept; the ratio of the numbers where the kept ones have no mass.

    Example:
        >>> mass_given_back(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, True, False]))
        2.0
    """
    total, left = float(mass.sum(dtype=torch.float64)), float(mass[kept].sum(dtype=torch.float64))
    return total / left if left > 0 else len(mass) / max(int(kept.sum()), 1)


def check_enough(n_kept: int, kind: str, n_neighbours: int, where: str) -> None:
    """Refuse so few particles that they have no n-th neighbour.

    Raises:
        UserError: with where and what to do.
    """
    if n_kept <= n_neighbours:
        raise UserError(
            f"{where}: {n_kept} particles of {kind} are kept; neighbour {n_neighbours} needs {n_neighbours + 1}; "
            "keep a larger part or lower --n-neighbours"
        )
