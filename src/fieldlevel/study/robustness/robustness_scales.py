"""Robustness studies of three sizes: those of the letter (`study.scales`)."""

from dataclasses import replace

from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.scales import SCALES


def robustness_scale(scale: str) -> RobustnessSpec:
    """Simulations and networks of a letter of that scale; on a laptop one seed, and a shorter choice.

    Example:
        >>> robustness_scale("letter").choice_steps, robustness_scale("laptop").seeds
        (2000, 1)
    """
    return of_letter(SCALES[scale](), is_small=scale == "laptop")


def of_letter(letter: LetterSpec, *, is_small: bool = False) -> RobustnessSpec:
    """The study with the suites, simulations, networks and seeds of a letter."""
    usual = RobustnessSpec(letter.suites, simulate=letter.simulate, train=letter.train)
    small = replace(usual, seeds=1, k=(10,), choice_hidden=2, choice_steps=300)
    return replace(small if is_small else usual, seeds=max(letter.seeds, 1 if is_small else usual.seeds))
