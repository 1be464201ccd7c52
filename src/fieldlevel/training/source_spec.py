"""One source of maps among several that a network is trained on, as a spec."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import tyro

from fieldlevel.spec_io import STRICT


@dataclass(frozen=True)
class SourceSpec:
    """Simulations of one suite, with labels to learn from or without."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = ("simulations",)

    suite: str = "MockTNG"
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    labelled: bool = True
    """Whether the network is told the parameters of its simulations."""
    share: float | None = None
    """Of every batch, between 0 and 1. None: what the stated shares leave, in equal parts."""
    simulations: tuple[int, ...] = ()
    """Numbers of the simulations of the training set that are taken; all of it when empty. Those of the validation set
    stay as they are."""
