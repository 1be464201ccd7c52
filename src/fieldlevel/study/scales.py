"""Letters of three sizes: two CPU cores, or the sizes of arXiv:2109.10360 with half the particles a side, or all."""

import dataclasses
from collections.abc import Callable

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training.presets import laptop_summary, laptop_training, modern_preset


def laptop_scale() -> LetterSpec:
    """Two CPU cores, a quarter of an hour: small boxes of particles, 64 x 64 maps, a narrow network."""
    return LetterSpec(
        k_max=(2.0,),
        one_parameter_seeds=4,
        one_parameter_values=3,
        summary_trials=8,
        summary=laptop_summary(),
        simulate=SimulateSpec(n_simulations=120, n_particles=64, n_mesh=96, step_error=0.2, n_pixels=64),
        train=laptop_training(),
    )


def half_scale() -> LetterSpec:
    """The letter with half as many particles a side: an eighth of the work of its simulations."""
    letter = letter_scale()
    return dataclasses.replace(letter, simulate=dataclasses.replace(letter.simulate, n_particles=128, n_mesh=256))


def letter_scale() -> LetterSpec:
    """The sizes of the letter, for one GPU or more."""
    return LetterSpec(train=modern_preset())


SCALES: dict[str, Callable[[], LetterSpec]] = {"laptop": laptop_scale, "half": half_scale, "letter": letter_scale}


SIMULATION_SCALES: dict[str, Callable[[], SimulateSpec]] = {
    "laptop": lambda: laptop_scale().simulate,
    "half": lambda: half_scale().simulate,
    "letter": lambda: letter_scale().simulate,
}
