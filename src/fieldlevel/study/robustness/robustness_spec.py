"""What `fieldlevel robustness` is to do, as a spec."""

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import STRICT
from fieldlevel.training.train_spec import Options, TrainSpec, is_of_network

Part = Literal["leave one out", "adaptation", "controls"]


@dataclass(frozen=True)
class MethodOptions:
    """A method of training on several suites with its hyper-parameters: one that may be chosen."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    method: str = "pooled"
    """As in the training (`TrainSpec.method`), or the import path of a penalty of one's own, `module:Class`."""
    options: Options = dataclasses.field(default_factory=dict, hash=False)
    """Hyper-parameters of the method; those that are left out have their defaults."""

    @property
    def label(self) -> str:
        """In words.

        Example:
            >>> MethodOptions("mmd", {"weight": 5.0}).label
            'mmd (weight 5)'
        """
        told = ", ".join(f"{name} {f'{value:g}' if isinstance(value, float) else value}" for name, value in self.told)
        return f"{self.method} ({told})" if told else self.method

    @property
    def told(self) -> tuple[tuple[str, Any], ...]:
        """The hyper-parameters in alphabetical order."""
        return tuple(sorted(self.options.items()))


@dataclass(frozen=True)
class RobustnessSpec:
    """Every suite against every suite, leave one suite out, adaptation, and controls."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suites: tuple[str, ...] = ()
    """Three or more; when empty all that the folder holds, or all mock suites where none is given."""
    methods: tuple[str, ...] = ()
    """Ways to train on several suites, by their names in `train`, and `experts`, networks of one suite each that are
    mixed; when empty all that there are. `pooled` is always among them."""
    adapt_with: tuple[str, ...] = ()
    """Those of them that may see maps of the left-out suite, without labels; when empty all that make use of them."""
    candidates: tuple[MethodOptions, ...] = ()
    """Hyper-parameters to choose from; a method that has none here has its defaults and those of its grid."""
    parts: tuple[Part, ...] = ("leave one out", "adaptation", "controls")
    """What is done beside the matrix of single-suite networks, with which everything is compared."""
    n_best: int = 2
    """Methods beside pooling that are trained at full size, the same for all left-out suites: those that inner
    leave-one-out finds best. More where more suites have a best one of their own."""
    seeds: int = 3
    """Networks of the matrix, of leave-one-out and on all suites, with as many seeds from that of `train` on; those for
    transfer error bars, curves and controls have one."""
    adaptation_seeds: int = 2
    """Networks that adapt to all maps and their oracles, with as many seeds, `seeds` at most."""
    adaptation_inner: int = 1
    """Suites among the others that are left out in turn to choose how to adapt: the first ones after the left-out one.
    Each is shown to networks of its own, which costs more than the choice of the methods that see none."""
    curve_folds: int = 1
    """Left-out suites, the first ones, that networks adapt to with `k` simulations, and with half of the prior."""
    control_folds: int = 1
    """Left-out suites, the first ones, that controls are done for."""
    k: tuple[int, ...] = (10, 100)
    """Simulations without labels of the left-out suite to adapt to, beside all that there are."""
    target_part: float = 0.5
    """Of the training rows, which the adaptation takes from the left-out suite without labels. Networks of the
    adaptation and their oracle are taught with the other rows, so that no row is on both sides."""
    target_share: float = 0.5
    """Of every batch of an adaptation, of maps without labels; as many with labels are in it as otherwise."""
    choice_part: float = 0.15
    """Of the training rows, on which methods are compared by inner leave-one-out; not trained on there."""
    choice_hidden: int = 4
    """Width of the networks of the choice; a GPU is no faster with 5 than with 8."""
    choice_steps: int = 2000
    """Steps of the networks of the choice."""
    test_set: str = ""
    """Set whose simulations every network is tested on, all that it has not seen; when empty the test rows of the
    split."""
    simulate: SimulateSpec = dataclasses.field(default_factory=SimulateSpec)
    """How to simulate the suites where no data folder is given; its `suites` are replaced by them."""
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    """How to train each network; suites, sources, method and labels are set by what is done, `seed` is the first."""

    @classmethod
    def place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a network as those of every network here, which sets the suites itself."""
        if not is_of_network(values, cls):
            return values
        return {"train": {name: value for name, value in values.items() if name not in ("suite", "sources")}}


def choice_training(spec: RobustnessSpec) -> TrainSpec:
    """Narrow and short, for the choice alone, which looks at means: standard deviations are not fitted again."""
    train = spec.train
    return replace(
        train,
        network=train.network if train.body else replace(train.network, hidden=spec.choice_hidden),
        n_steps=spec.choice_steps,
        head_batches=0,
        validate_every=min(train.validate_every, spec.choice_steps),
    )
