"""Letters of two sizes: two CPU cores, or the sizes of arXiv:2109.10360."""

import dataclasses
from collections.abc import Callable

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training.presets import laptop_summary, laptop_training, modern_preset


def laptop_scale() -> LetterSpec:
    """Two CPU cores, some half an hour: small boxes of particles, 64 x 64 maps, a narrow network."""
    return LetterSpec(
        k_max=(2.0, 4.0),
        summary_trials=20,
        summary=laptop_summary(),
        simulate=SimulateSpec(n_simulations=200, n_particles=64, n_mesh=96, step_error=0.2, n_pixels=64),
        train=laptop_training(),
    )


def letter_scale() -> LetterSpec:
    """The sizes of the letter, for one GPU or more."""
    return LetterSpec(train=modern_preset())


def fine_simulations() -> SimulateSpec:
    """The letter's maps from eight times as many particles."""
    return dataclasses.replace(letter_scale().simulate, n_particles=256, n_mesh=512)


SCALES = {"laptop": laptop_scale, "letter": letter_scale}


SIMULATION_SCALES: dict[str, Callable[[], SimulateSpec]] = {
    "laptop": lambda: laptop_scale().simulate,
    "letter": lambda: letter_scale().simulate,
    "fine": fine_simulations,
}
