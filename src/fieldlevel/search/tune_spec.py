"""A search for hyper-parameters, as a spec."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT
from fieldlevel.training.train_spec import TrainSpec, is_of_network


@dataclass(frozen=True)
class TuneSpec:
    """Search for the hyper-parameters of one network."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    train: Annotated[TrainSpec, tyro.conf.arg(name="")] = dataclasses.field(default_factory=TrainSpec)
    """Everything that is not searched; with `search = "default"` also the first trial and the middle of the widths."""
    n_trials: int = 50
    """Trials that run to the end, are pruned or fail, over all processes and calls."""
    search: Literal["released", "default"] = "default"
    """released: space and sampler of the released scripts, no pruning; default: narrower, begun at good published
    values, poor trials stopped early. The released space is one of AdamW."""
    seed: Annotated[int, tyro.conf.arg(name="search-seed")] = 0
    """Of the sampler; every trial trains with the seed of `train`."""
    n_kept: int = 5
    """Best networks whose weights are kept, for an ensemble."""

    @classmethod
    def place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a network as those of the networks of the search."""
        return {"train": values} if is_of_network(values, cls) else values
