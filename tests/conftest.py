"""One tiny letter for all tests that need a finished one."""

import os
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, one thread each

import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.train_spec import TrainSpec


@pytest.fixture(scope="session")
def tiny_letter() -> LetterSpec:
    """16 x 16 maps of 16^3 particles and a network that learns next to nothing: seconds."""
    split = SplitSpec(train=0.6, validation=0.2)
    return LetterSpec(
        smoothing=(1.0,),
        k_max=(1.0,),
        map_trials=2,
        summary_trials=2,
        summary=TrainSpec(
            inputs="power spectrum",
            perceptron=PerceptronSpec(n_layers=1, n_neurons=8),
            batch_size=16,
            n_steps=6,
            validate_every=3,
            split=split,
        ),
        simulate=SimulateSpec(n_simulations=10, n_particles=16, n_mesh=16, n_pixels=16),
        train=replace(
            modern_preset(),
            split=split,
            network=NetworkSpec(hidden=1),
            batch_size=16,
            n_steps=6,
            validate_every=3,
            head_batches=3,
        ),
    )
