"""One source of maps among several that a network is trained on, as a spec."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT


@dataclass(frozen=True)
class SourceSpec:
    """Simulations of one suite, with labels to learn from or without."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = ("part", "apart", "simulations")

    suite: str = "MockTNG"
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    labelled: bool = True
    """Whether the network is told the parameters of its simulations."""
    share: float | None = None
    """Of every batch, between 0 and 1; 0 of a source without labels that is in none (`batch-norms`). None: what the
    stated shares leave, in equal parts."""
    part: tuple[float, float] = (0.0, 1.0)
    """From which fraction to which of the training simulations of the split, in its order: sources whose parts do not
    overlap have no number in common."""
    apart: bool = False
    """Without labels: leave out simulations that have a sibling with labels here, one of the same number in a suite of
    the same initial conditions. Such a suite is no labelled one."""
    simulations: tuple[int, ...] = ()
    """Numbers of the simulations of the training set that are taken; all of it when empty. Those of the validation set
    stay as they are."""
