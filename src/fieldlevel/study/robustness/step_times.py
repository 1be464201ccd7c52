"""How long a device takes for the networks of a study."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepTimes:
    """How long a device takes; as measured on one H200, for 256 x 256 maps in batches of 128."""

    full_ms: float = 10.1
    """Milliseconds a step of a network of full size; a larger batch takes longer in proportion."""
    choice_ms: float = 7.2
    """The same of a network of the choice."""
    beside_s: float = 20.0
    """Seconds beside the steps of a network of full size: its maps are loaded, statistics and head fitted, tests done;
    13 of one suite that is tested on others, 25 of three suites with their set test."""
    choice_beside_s: float = 6.0
    """The same of a network of the choice, which is tested on a few maps of one suite; measured."""
