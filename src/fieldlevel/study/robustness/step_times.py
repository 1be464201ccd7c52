"""How long a device takes for the networks of a study."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepTimes:
    """How long a device takes; as measured on one H200, for 256 x 256 maps in batches of 128."""

    full_ms: float = 9.1
    """Milliseconds a step of a network of full size; a larger batch takes longer in proportion."""
    choice_ms: float = 7.2
    """The same of a network of the choice."""
    beside_s: float = 12.0
    """Seconds beside the steps of a network of full size: its maps are loaded, statistics measured, tests done; an
    estimate."""
    choice_beside_s: float = 6.0
    """The same of a network of the choice, which is tested on a few maps of one suite; measured."""
