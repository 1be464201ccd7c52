"""How one network is trained, as a spec."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.estimators.network_specs import MOMENTS, NetworkSpec, Option, PerceptronSpec
from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT
from fieldlevel.training.source_spec import SourceSpec

POOLED = "pooled"
"""The method that does nothing."""
Options = Annotated[dict[str, Option], tyro.conf.arg(metavar="NAME VALUE ...")]
"""By their names; a spec that has some can still be the key of a dict."""


@dataclass(frozen=True)
class OptimiserSpec:
    """How weights are moved, and the learning-rate schedule."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    method: Literal["AdamW", "Muon"] = "AdamW"
    """`Muon`: steps of orthogonal matrices for the weights of convolutions and linear layers, AdamW for the rest, at
    the same rate and decay, with `beta1` for the average over steps in both. It wants some five times the rate of
    AdamW, `beta1` near 0.95 and far more decay: who changes the method changes these too."""
    learning_rate: float = 4e-3
    """Highest learning rate."""
    weight_decay: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    schedule: Literal["triangular", "one-cycle"] = "one-cycle"
    """`triangular`: 500 steps up from 1e-9 and 500 down, repeated (released recipe). `one-cycle`: linear rise, cosine
    fall to zero at the last step."""
    warm_up: float = 0.1
    """Fraction of all steps in the linear rise of `one-cycle`."""
    longest_gradient: float | None = None
    """Euclidean norm over all weights; a longer gradient is shortened to it. None: never. Muon hardly feels it."""


@dataclass(frozen=True)
class TrainSpec:
    """One estimator trained on the maps of one suite, or of several sources."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = (
        *("body", "body_options", "head", "head_options"),
        *("penalty", "penalty_options"),
        *("sources", "outputs"),
        *("calibration", "method", "method_options", "joint_steps", "blur"),
    )

    suite: str = "MockTNG"
    """To train on; as in the names of the files, e.g. IllustrisTNG."""
    field: str = "Mtot"
    """What the maps show, as in the names of the files."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """Of the suite, as in the names of the files."""
    transform: TransformSpec = dataclasses.field(default_factory=TransformSpec)
    """Of every map that the network reads."""
    blur: float = 0.0
    """Pixels: each map of training, validation and calibration is smoothed by a Gaussian of its own before, of a
    standard deviation from 0 to this, so that the network does not lean on a resolution that other maps lack. Maps that
    the trained network is given, and those of its reference, are read as they are."""
    inputs: Literal["maps", "power spectrum", "one-point PDF"] = "maps"
    """What the network reads of a map: the map itself by the convolutional network, or a summary by the perceptron; a
    body of one's own reads either."""
    labels: Literal["true", "permuted", "permuted suites"] = "true"
    """permuted: those of the training and validation simulations in random order, from which nothing can be learnt.
    permuted-suites: parameters are true, but which source a training simulation is of is told in random order, so that
    nothing can be learnt from that."""
    normaliser: Literal["train", "suite"] = "train"
    """Statistics of log10(map) over the training maps, or over the whole suite as in the released scripts (legacy)."""
    augmentation: Literal["symmetries", "symmetries+shifts"] = "symmetries+shifts"
    """What is drawn for each map of a batch: one of the eight symmetries of the square; also a periodic shift."""
    split: SplitSpec = dataclasses.field(default_factory=SplitSpec)
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    perceptron: PerceptronSpec = dataclasses.field(default_factory=PerceptronSpec)
    """Of summaries."""
    optimiser: OptimiserSpec = dataclasses.field(default_factory=OptimiserSpec)
    batch_size: int = 128
    n_steps: int = 28_200
    """Optimiser steps; an epoch of the released recipe has 141."""
    validate_every: int = 141
    """Steps between validations (all eight symmetries of every validation map)."""
    squared_error_steps: int = 0
    """Steps of squared-error warm-up before the letter's loss: the remedy for a collapse to the prior."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the network; the loss is always float32. `auto`: bfloat16 on a device that has it, else float32."""
    statistics_batches: int = 100
    """Training batches over which the batch norms of the network that is kept are measured again, in float32; 0 leaves
    them the moving averages of the training (released recipe)."""
    head_batches: int = 0
    """Training batches over which the head of the network that is kept is then fitted again, with these statistics and
    without dropout, so that its standard deviations are those of the means that it predicts; 0 leaves it as it was in
    training (released recipe). On maps only, unless body or head are one's own."""
    seed: int = 0
    body: str = ""
    """Import path of a network of one's own that makes features, `module:Class` (`fieldlevel.estimators.estimator`), in
    the place of `network` or `perceptron`."""
    body_options: Options = dataclasses.field(default_factory=dict, hash=False)
    """Arguments of its class."""
    head: str = MOMENTS
    """`moments`: mean and standard deviation of each parameter; `gaussian`: mean and covariance of all; `flow`: a
    density of any shape (needs zuko); or the import path of one's own, `module:Class`."""
    head_options: Options = dataclasses.field(default_factory=dict, hash=False)
    """Arguments of its class; of `moments` on a body of one's own `dropout` and `std_from`, of `gaussian` `dropout`, of
    `flow` also `kind`, `n_transforms`, `n_hidden`, `n_bins` and `n_context`."""
    joint_steps: int = 2000
    """Steps in which `gaussian` and `flow` learn how the parameters hang together, once features and moments stand
    (`training.joint_fit`); the validation simulations choose among them and the start, independent parameters."""
    penalty: str = ""
    """Import path of what is added to the loss in training, `module:Class` (`fieldlevel.training.penalty`)."""
    penalty_options: Options = dataclasses.field(default_factory=dict, hash=False)
    """Arguments of its class."""
    sources: tuple[SourceSpec, ...] = ()
    """In the place of suite and set: where the maps come from, with labels or without; the flags `--sources.0.suite`
    and so on change those of a --config. Empty: the one suite, with labels."""
    outputs: tuple[str, ...] = ()
    """Parameters to infer: `Omega_m` of all sources, `A_SN1[MockTNG]` of one suite alone. Empty: all parameters of one
    source; of several with labels the cosmological ones of all, and each other one by suite."""

    calibration: Literal["none", "sigma of mean"] = "sigma of mean"
    """What is done with the calibration simulations of the split once the network is trained. `sigma-of-mean`: standard
    deviations are multiplied by a smooth function of the mean (`inference.calibration`), where that helps."""

    method: str = POOLED
    """How several sources are trained together (docs/training.md, Methods): `pooled`, `group-dro`, `vrex`,
    `adversarial`, `mmd`, `batch-norms`, `randomised`, or the import path of one's own, `module:Class`
    (`fieldlevel.training.method`)."""
    method_options: Options = dataclasses.field(default_factory=dict, hash=False)
    """Arguments of its class: of all but `pooled` `weight`, of which 0 is pooling."""

    @property
    def all_sources(self) -> tuple[SourceSpec, ...]:
        """Where the maps come from: `sources`, or the one suite."""
        return self.sources or (SourceSpec(self.suite, self.set_name),)

    @classmethod
    def place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a letter, of a study or of a search as those of their networks on maps."""
        train = values.get("train")
        return train if isinstance(train, dict) else values


def summary_training() -> TrainSpec:
    """Training of a perceptron on summaries: short steps, many of them, no symmetries to draw."""
    perceptron = PerceptronSpec(std_from="softplus")
    return TrainSpec(inputs="power spectrum", perceptron=perceptron, n_steps=6000, validate_every=200)


def is_of_network(values: Mapping[str, Any], beside: type[Any]) -> bool:
    """Whether settings are those of one network, and not of a spec that has such a network as a part.

    Args:
        values: settings by their names.
        beside: class of the spec that has the part.
    """
    own, of_network = ({field.name for field in dataclasses.fields(kind)} for kind in (beside, TrainSpec))
    return of_network >= values.keys() and not own >= values.keys()
