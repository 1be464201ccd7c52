"""Complete specs of trainings: the released recipe and the one of this package."""

from dataclasses import replace

from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec, summary_training

LAPTOP_SPLIT = SplitSpec(train=0.75, validation=0.10)


def released_preset() -> TrainSpec:
    """The released benchmark recipe, float32, with the best published hyper-parameters."""
    return TrainSpec(
        normaliser="suite",
        augmentation="symmetries",
        network=NetworkSpec(hidden=7, dropout=0.209),
        optimiser=OptimiserSpec(learning_rate=4.88e-3, weight_decay=2.44e-4, schedule="triangular"),
        precision="float32",
        statistics_batches=0,
    )


def modern_preset() -> TrainSpec:
    """Muon, one-cycle rate, periodic shifts, bfloat16 where the device has it, statistics of the training maps only.

    Standard deviations are the softplus of an output: as squares they vanished for some maps; and the head is fitted
    again to statistics that stand: without it they were up to 1.6 times too large (docs/training.md).

    Decay at this rate halves a weight in some 170 steps, and keeps networks of 1,000 simulations from overfitting: it
    does what dropout is for, at a lower loss (docs/training.md). More steps hardly lower the errors.
    """
    return TrainSpec(
        network=NetworkSpec(dropout=0.0, std_from="softplus"),
        perceptron=PerceptronSpec(std_from="softplus"),
        optimiser=OptimiserSpec(method="Muon", learning_rate=4e-2, weight_decay=0.1, beta1=0.95),
        n_steps=4000,
        validate_every=200,
        head_batches=200,
    )


TRAIN_PRESETS = {"released": released_preset, "modern": modern_preset}


def laptop_training() -> TrainSpec:
    """A narrow network on 64 x 64 maps of 120 simulations, for two CPU cores."""
    train = modern_preset()
    return replace(
        train,
        split=LAPTOP_SPLIT,
        network=replace(train.network, hidden=4),
        batch_size=32,
        n_steps=400,
        validate_every=80,
    )


def laptop_summary() -> TrainSpec:
    """The same for networks on summaries of maps."""
    summary = summary_training()
    return replace(
        summary,
        split=LAPTOP_SPLIT,
        perceptron=replace(summary.perceptron, n_neurons=64),
        n_steps=1500,
        validate_every=75,
    )
