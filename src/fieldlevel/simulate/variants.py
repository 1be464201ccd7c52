r"""Sets of maps that the particles of one simulation make: the plain one, those of a test, those of a remedy.

**A test** asks whether a network weighs particles: `<set>thin2` from a random half of the particles of each kind,
`<set>thin2cdm` and `<set>thin2gas` from half of one kind, as the ratio of the masses of gas and dark matter also tells
Omega_m, `<set>lattice2` from every second particle of the lattice a side.

**A remedy** is a set to train on. In `<set>thinned` every map is from a random fraction of its own of the dark matter,
the gas and the stars, each drawn by itself, log-uniform: the mass of a particle says nothing any more. Each map is what
a simulation of so many particles would give. In `<set>tracers` the range goes beyond one, so that a network also learns
finer maps than the simulation has; `<set>smoothed` spreads every particle to a random number of neighbours instead.

The fractions depend on the seed of the simulation, the number of the slab and the kind, not on the suite: the same in
every suite of a row. That is wrong for nothing, as suites are never compared map by map in training, and it leaves the
baryons the only difference between siblings.
"""

from dataclasses import dataclass
from typing import Any

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.thinning import FRACTIONS_IN_WORDS, are_fractions, lattice_set_name, set_name_of
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import refuse_values
from fieldlevel.suites import base_set, is_thinned

OF_VARIANTS = ("thin", "thin_kinds", "thin_lattice", "thin_training", "smooth_training")
"""Fields of a spec that add sets and change none: they belong into no record of the others."""
MOST_TRACERS = 8.0
_LONE_KINDS = ("Mcdm", "Mgas")
_SHARE_OF_A_DISC = 8


@dataclass(frozen=True)
class Variant:
    """How the maps of a set are made from the particles of a simulation; the plain maps unless something is given.

    Attributes:
        set_name: of the maps.
        fraction: of the particles that are kept in all maps alike.
        kinds: that are thinned, as the CMD fields that they make; all when empty.
        every: keep every m-th particle of the lattice along each axis.
        fractions: between which the maps of each slab number draw one for each kind; beyond one tracers are added.
        neighbours: between which they draw what their discs reach to.
    """

    set_name: str
    fraction: float | None = None
    kinds: tuple[str, ...] = ()
    every: int = 1
    fractions: tuple[float, float] | None = None
    neighbours: tuple[int, int] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether these are the maps of all particles."""
        return not self.record

    @property
    def is_drawn_by_map(self) -> bool:
        """Whether each map of a simulation is made in a way of its own."""
        return self.fractions is not None or self.neighbours is not None

    @property
    def record(self) -> dict[str, Any]:
        """What the record of a plan says besides; nothing of plain maps.

        Example:
            >>> Variant("LHthin2", fraction=0.5).record
            {'thinning': {'fraction': 0.5, 'seed': "the simulation's"}}
        """
        usual = Variant(self.set_name)
        names = ("fraction", "kinds", "every", "fractions", "neighbours")
        said = {name: value for name in names if (value := getattr(self, name)) != getattr(usual, name)}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
        return {"thinning": {**listed, "seed": "the simulation's"}} if said else {}


def variants_of(spec: SimulateSpec, *, is_twin: bool = False) -> tuple[Variant, ...]:
    """The sets that a spec asks for, the plain one first.

    Args:
        spec: what is to be simulated.
        is_twin: of the gravity-only twin, which has one kind: no set from a part of one kind.

    Example:
        >>> [each.set_name for each in variants_of(SimulateSpec(thin=(0.5, 0.25), thin_training=(0.05, 1)))]
        ['LH', 'LHthin2', 'LHthin4', 'LHthinned']
    """
    name, variants = spec.set_name, [Variant(spec.set_name)]
    variants += [Variant(set_name_of(name, fraction), fraction) for fraction in spec.thin]
    if spec.thin_kinds and not is_twin:
        fraction = max(fraction for fraction in spec.thin if fraction < 1)
        variants += [Variant(set_name_of(name, fraction, kind), fraction, (kind,)) for kind in _LONE_KINDS]
    variants += [Variant(lattice_set_name(name, every), every=every) for every in spec.thin_lattice]
    if spec.thin_training is not None:
        ending = "tracers" if spec.thin_training[1] > 1 else "thinned"
        variants.append(Variant(f"{name}{ending}", fractions=spec.thin_training))
    if spec.smooth_training is not None:
        variants.append(Variant(f"{name}smoothed", neighbours=spec.smooth_training))
    return tuple(variants)


def least_part(spec: SimulateSpec) -> float:
    """Of the particles of a kind, so that no disc takes in more than an eighth of those that are left.

    Example:
        >>> least_part(SimulateSpec(n_particles=16, n_neighbours=32))
        0.0625
    """
    return _SHARE_OF_A_DISC * spec.n_neighbours / spec.n_particles**3


def most_neighbours(spec: SimulateSpec) -> int:
    """That a disc may reach to, an eighth of the particles of a kind.

    Example:
        >>> most_neighbours(SimulateSpec(n_particles=16))
        512
    """
    return spec.n_particles**3 // _SHARE_OF_A_DISC


def check_variants(spec: SimulateSpec) -> None:
    """Refuse parts that cannot be, and such as leave a disc of the n-th neighbour an eighth of the box and more.

    Nor can the set of all particles have a name that says otherwise.

    Raises:
        UserError: with what is allowed.
    """
    if is_thinned(spec.set_name):
        told = (
            f"its name says what is made of the particles of {base_set(spec.set_name)}; name that, with thin and others"
        )
        raise UserError(f"set {spec.set_name!r}: {told}")
    low, high = spec.thin_training or (1.0, 1.0)
    near, far = spec.smooth_training or (1, 1)
    lattices, least, n_most = spec.thin_lattice, least_part(spec), most_neighbours(spec)
    enough = f", {least:.3g} and more of {spec.n_particles}^3 particles with {spec.n_neighbours} neighbours"
    are_lattices = all(every > 1 and spec.n_particles % every == 0 for every in lattices)
    allowed = {
        "thin": (are_fractions(spec.thin) and min(spec.thin, default=1) >= least, FRACTIONS_IN_WORDS + enough),
        "thin_kinds": (not spec.thin_kinds or min(spec.thin, default=1) < 1, "True with a fraction below 1 in thin"),
        "thin_lattice": (
            are_lattices and len(set(lattices)) == len(lattices) and max(lattices, default=1) ** -3 >= least,
            f"numbers from 2 that divide n_particles, {spec.n_particles}, each once{enough}",
        ),
        "thin_training": (
            0 < low <= high <= MOST_TRACERS and min(low, 1) >= least,
            f"two numbers above 0 and at most {MOST_TRACERS:g}, the smaller one first{enough}",
        ),
        "smooth_training": (
            1 <= near <= far <= n_most,
            f"two numbers from 1 to {n_most}, an eighth of the particles of a kind, the smaller one first",
        ),
    }
    refuse_values(spec, allowed)
