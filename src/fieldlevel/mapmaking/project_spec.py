"""What maps of snapshots are to be, as a spec."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT


@dataclass(frozen=True)
class ProjectSpec:
    """Maps in CMD format from snapshots."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suite: str = "Mine"
    """Name of the suite in the names of the files."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """Name of the set in the names of the files."""
    fields: tuple[str, ...] = ("Mtot",)
    """Mtot, Mcdm, Mgas, Mstar, HI, ne, T, P, Z, B, Vgas, Vcdm, as far as the snapshots hold them."""
    parameters: str | None = None
    """Table of parameters, a row of six for each snapshot in their order; when omitted those of the headers, if every
    header has all six. A file layout_<set>_<suite>.json in the folder may name others."""
    n_pixels: int = 256
    """Pixels a side of a map."""
    n_slabs: int = 5
    """Slabs along each of the three axes."""
    slab_thickness_mpc_h: float | None = None
    """Of a slab; the slabs share the box when omitted."""
    radius: Literal["neighbours", "smoothing length", "points"] = "neighbours"
    """Of the discs of gas and dark matter: to the n-th neighbour of their own kind, or the snapshot's own where it has
    one; stars and black holes are always points."""
    n_neighbours: int = 32
    """The disc of a particle reaches to this neighbour."""
    thin: tuple[float, ...] = ()
    """Also make maps from random fractions of the particles, their mass given back, to see whether a network weighs
    particles: 0.5 0.25 make the sets <set>thin2 and <set>thin4."""
    thin_seed: int = 0
    """Of the random fractions; each snapshot adds its place among the snapshots."""
    length_unit: Literal["kpc/h", "Mpc/h"] | None = None
    """Of the snapshots; needed only where they do not say; stands above what they say."""
    box_size_mpc_h: float | None = None
    """Side of the box; needed only where the headers do not say; refused where they say otherwise."""
    Omega_m: Annotated[float | None, tyro.conf.arg(name="omega-m")] = None
    """The same for the matter density; without it the mass cannot be checked."""
    redshift: float | None = None
    """The same for the redshift, which the expansion factor in a header also tells."""
    any_redshift: bool = False
    """Also take snapshots of one redshift above 0, although the names of the files say z=0.00."""
    check_mass: bool = True
    """Refuse snapshots whose particles miss the mass of Omega_m in the box by over 5%, or do not fill it; switch off
    for cut-outs."""
