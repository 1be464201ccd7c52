"""Which network is tested on which maps, as a spec."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.spec_io import STRICT
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class EvaluateSpec:
    """A trained network applied to simulations that it has not seen, of its own suite or of another."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = ("numbers",)

    network: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    suite: str = "MockSIMBA"
    field: str = "Mtot"
    set_name: str = "LH"
    transform: TransformSpec = dataclasses.field(default_factory=TransformSpec)
    """Of the tested maps, before they are given to the network, which applies its own."""
    simulations: Literal["test", "all", "unseen"] = "test"
    """`test`: the test simulations of the network's split. `all`: every one, refused on the network's own suite.
    `unseen`: every one that is neither known to the network nor has initial conditions that are."""
    numbers: tuple[int, ...] = ()
    """Of the simulations, in the place of `simulations`; refused where the network has seen one."""
