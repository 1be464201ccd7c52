"""What a letter is to do, as a spec."""

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import STRICT
from fieldlevel.training.train_spec import TrainSpec, is_of_network, summary_training

SHARED = ("field", "set_name", "split", "seed", "normaliser", "calibration")
"""Settings that networks on summaries share with those on maps."""


@dataclass(frozen=True)
class LetterSpec:
    """Every test of two suites or more: pairs, nulls, power spectrum, N-body, smoothing."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = (
        "numerics",
        "numerics_train",
        "numerics_smoothing",
        "one_parameter_seeds",
        "one_parameter_values",
    )

    suites: tuple[str, ...] = ()
    """The suites to compare, two or more: a network of each is tested on all; when empty, the two that the folder
    holds."""
    seeds: int = 1
    """Networks of the pairs of suites, trained with as many seeds from that of `train` on."""
    other_seeds: int = 1
    """The same for networks of every other kind; at most `seeds`."""
    smoothing: tuple[float, ...] = (1.0, 2.0, 3.0)
    """Gaussian smoothings in pixels to train on again."""
    k_max: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    """Cuts of the wavenumber in h/Mpc to train on again."""
    only: tuple[str, ...] = ()
    """Experiments to do beside the four pairs, each by its first words, e.g. power-spectrum; all when empty. Of three
    suites or more also robustness, which is never done unless it is named: `fieldlevel robustness` with this letter's
    data and networks, in the folder robustness of --out."""
    numerics: bool = True
    """Test the networks on sets of other numbers of particles too (thinned ones, coarser and finer simulations), and
    train others on maps of random numbers of particles, where the folder has such sets; suites that are simulated get
    them."""
    numerics_train: tuple[str, ...] = ()
    """Sets that the networks tested on other numbers of particles are trained on, e.g. LH LHthinned, a training each
    for every suite; when empty, that of `train` and all that the folder has of its sets thinned, tracers and
    smoothed."""
    numerics_smoothing: tuple[float, ...] = ()
    """Gaussian smoothings in pixels: all these networks are trained again on maps smoothed so, and tested on such maps,
    which hold less of what only more particles resolve. For each a training for every suite and set."""
    one_parameter_seeds: int = 10
    """Test whether answers move when only feedback moves, where the folder has the set 1P of some suite; suites that
    are simulated get it from so many initial conditions. 0 leaves the experiment out."""
    one_parameter_values: int = 5
    """Values of each parameter in the sets 1P that are simulated, an odd number."""
    map_trials: int = 0
    """Trials of the search for the hyper-parameters of each suite's networks on maps; 0 takes those of `train`."""
    summary_trials: int = 30
    """Trials of the search for those of each suite's networks on the power spectrum, which then serve the one-point PDF
    too; 0 takes those of `summary`."""
    simulate: SimulateSpec = dataclasses.field(default_factory=SimulateSpec)
    """How to simulate the suites where no data folder is given; its `suites` are replaced by them."""
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    """How to train each network on maps; each experiment sets suite, transform, inputs and labels, and `seed` is the
    first of `seeds`."""
    summary: TrainSpec = dataclasses.field(default_factory=summary_training)
    """How to train each network on a summary of the maps; field, set, split, seed, normaliser and calibration are
    those of `train`."""

    @classmethod
    def place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a network as those of the networks of the letter, which sets the suites itself."""
        if not is_of_network(values, cls):
            return values
        part = "train" if values.get("inputs", "maps") == "maps" else "summary"
        return {part: {name: value for name, value in values.items() if name != "suite"}}


def summary_train(spec: LetterSpec, inputs: Literal["power spectrum", "one-point PDF"]) -> TrainSpec:
    """How to train networks on a summary: what they share with those on maps is that of `train`."""
    return replace(spec.summary, inputs=inputs, **{name: getattr(spec.train, name) for name in SHARED})
