"""What is simulated for the experiment of one parameter at a time, where a letter simulates its own suites.

The set 1P from several initial conditions, with few values of each parameter. Simulations that differ in their feedback
alone start from one gravity run, so they cost little more than their baryons and maps; the gravity-only twin, which has
no feedback, is not made.
"""

from dataclasses import replace

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.variants import OF_VARIANTS
from fieldlevel.study.feedback_response import ONE_PARAMETER_SET
from fieldlevel.study.keys import ONE_PARAMETER
from fieldlevel.study.letter_plan import simulations
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.suites import base_set


def one_parameter_simulations(spec: LetterSpec) -> list[SimulateSpec]:
    """The one-parameter set of all mock suites that a letter simulates.

    Args:
        spec: of the letter.

    Returns:
        What to simulate; nothing where the letter leaves the experiment out or does others alone.

    Example:
        >>> from fieldlevel.study.scales import laptop_scale
        >>> [(each.set_name, each.n_seeds, each.n_values) for each in one_parameter_simulations(laptop_scale())]
        [('1P', 4, 3)]
    """
    is_wanted = not spec.only or ONE_PARAMETER.startswith(spec.only)
    is_own = base_set(spec.simulate.set_name) == ONE_PARAMETER_SET
    if spec.one_parameter_seeds == 0 or not is_wanted or is_own:
        return []
    usual = SimulateSpec()
    return [
        replace(
            simulations(spec),
            set_name=ONE_PARAMETER_SET,
            n_seeds=spec.one_parameter_seeds,
            n_values=spec.one_parameter_values,
            n_simulations=None,
            n_hypercube=None,
            parameters=None,
            twin=False,
            **{name: getattr(usual, name) for name in OF_VARIANTS},
        )
    ]
