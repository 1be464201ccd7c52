"""Sets of maps that the particles of one simulation make: the plain one."""

from dataclasses import dataclass
from typing import Any

from fieldlevel.errors import UserError
from fieldlevel.simulate.simulate_spec import SimulateSpec

OF_VARIANTS = ("thin", "thin_training")
"""Fields of a spec that add sets and change none: they belong into no record of the others."""


@dataclass(frozen=True)
class Variant:
    """How the maps of a set are made from the particles of a simulation.

    Attributes:
        set_name: of the maps.
    """

    set_name: str

    @property
    def is_plain(self) -> bool:
        """Whether these are the maps of all particles."""
        return not self.record

    @property
    def record(self) -> dict[str, Any]:
        """What the record of a plan says besides; nothing of plain maps."""
        return {}


def variants_of(spec: SimulateSpec, *, is_twin: bool = False) -> tuple[Variant, ...]:
    """The sets that a spec asks for, the plain one first.

    Args:
        spec: what is to be simulated.
        is_twin: of the gravity-only twin, which has one kind.
    """
    return (Variant(spec.set_name),)


def check_variants(spec: SimulateSpec) -> None:
    """Refuse parts of the particles that cannot be.

    Raises:
        UserError: with what is allowed.
    """
    if spec.thin or spec.thin_training is not None:
        raise UserError("thin: maps of a part of the particles cannot be made yet; leave it out")
