"""What a mock suite is to be, as a spec."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from fieldlevel.errors import UserError
from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT
from fieldlevel.suites import mock_suites

SimulatedField = Literal["Mtot", "Mcdm", "Mgas", "Mstar"]
SIMULATED_FIELDS: tuple[SimulatedField, ...] = get_args(SimulatedField)


@dataclass(frozen=True)
class SimulateSpec:
    """Mock suites on one gravity run, and the gravity-only twin of that run, in CMD format."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = (
        "twin", "n_hypercube", "n_seeds", "n_values", "thin", "thin_kinds", "thin_lattice", "thin_training",
        "smooth_training",
    )  # fmt: skip

    suites: Annotated[tuple[str, ...], tyro.conf.arg(metavar=f"{{{','.join(mock_suites())}}} ...")] = ("MockTNG",)
    """Which baryons: some of these, each once, or other mock suites that were registered (`suites.register_suite`). All
    share one gravity run a simulation."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """LH: a latin hypercube, 1,000 simulations unless you say how many; LH<word>: others, with seeds of their own; CV:
    the fiducial point with 27 seeds; 1P: one parameter at a time, 61 simulations; EX: 4 extremes of feedback; with
    `parameters` a name of your own, letters and digits."""
    parameters: str | None = None
    """Table of your own simulations: Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 and, if wanted, a seed."""
    n_simulations: int | None = None
    """The first rows of the set; all when omitted, 1,000 of a latin hypercube."""
    n_hypercube: int | None = None
    """Rows of the latin hypercube whose first are made; as many as `n_simulations` when omitted. Another number is
    another design."""
    n_seeds: int | None = None
    """Of the set 1P: how many initial conditions all its rows are made from, one after the other; 1 when omitted."""
    n_values: int | None = None
    """Of the set 1P: values of each parameter, an odd number, so that the fiducial one is in the middle; 11 when
    omitted."""
    fields: tuple[SimulatedField, ...] = ("Mtot",)
    """Of the suites; their gravity-only twin has Mtot alone."""
    twin: bool = True
    """Whether the gravity-only twin is made too."""
    thin: tuple[float, ...] = ()
    """Also make maps from random fractions of the particles, their mass given back, to see whether a network weighs
    particles: 0.5 0.25 make the sets <set>thin2 and <set>thin4."""
    thin_kinds: bool = False
    """Also from the largest fraction below one of the dark matter alone, <set>thin2cdm, and of the gas alone,
    <set>thin2gas."""
    thin_lattice: tuple[int, ...] = ()
    """Also from every m-th particle of the lattice along each axis: <set>lattice2."""
    thin_training: tuple[float, float] | None = None
    """Also maps for training, each from a random fraction of its own of every kind, log-uniform between these two:
    <set>thinned; beyond one, with particles interpolated on the lattice: <set>tracers. `simulate` makes them of the
    gravity-only twin too; a letter, which trains no network on those, does not."""
    smooth_training: tuple[int, int] | None = None
    """Also maps for training whose discs reach to a random neighbour, log-uniform between these two: <set>smoothed."""
    n_particles: int = 256
    """Particles a side, of dark matter and of gas."""
    n_mesh: int = 512
    """Cells a side of the force mesh."""
    step_error: float = 0.03
    """Wanted error of P(k) from finite time steps for k up to 10 h/Mpc; each cosmology gets the steps it needs."""
    a_start: float = 0.05
    """Expansion factor of the 2LPT start."""
    n_pixels: int = 256
    """Pixels a side of a map."""
    n_neighbours: int = 32
    """The disc of a particle reaches to this neighbour."""

    @classmethod
    def place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a letter or study as those of its simulations; the record of a folder as those of its suites.

        Raises:
            UserError: maps of different settings.
        """
        simulate = values.get("simulate")
        if isinstance(simulate, dict):
            return simulate
        specs = [dict(each["spec"]) for each in values.values() if isinstance(each, dict) and _is_recorded(each)]
        suites = tuple(dict.fromkeys(spec.pop("suite") for spec in specs))
        if any(spec != specs[0] for spec in specs):
            raise UserError("records maps of different settings; give a file that has one of them, TOML or JSON")
        return {"suites": suites, **specs[0]} if specs else values


def _is_recorded(record: dict[str, Any]) -> bool:
    """Whether a record of maps has the settings of a suite, and not of a gravity-only twin."""
    spec = record.get("spec")
    return isinstance(spec, dict) and spec.get("suite") in mock_suites()
