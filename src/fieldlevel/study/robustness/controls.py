"""Controls: what should change nothing, what should spoil a method, and pooling with fewer maps or universes.

* The method with a weight of zero must be pooling, to the bit.
* With suites told in random order a method that works by them must lose what it gains.
* Suites pooled with the same third of the rows each hold as many maps as one suite alone, of fewer universes.
* With a third of its own each they hold as many maps of as many universes, and no row is in two suites, as in CAMELS.
"""

from collections.abc import Sequence

from fieldlevel.study.robustness.folds import PLAIN, Folds
from fieldlevel.study.robustness.robust_methods import OF_SIBLINGS, POOLED, without_effect
from fieldlevel.study.robustness.robustness_spec import MethodOptions
from fieldlevel.study.robustness.roles import (
    EQUAL_MAPS,
    NO_SHARED_ROWS,
    PERMUTED_SUITES,
    ZERO_WEIGHT,
    Role,
    Roles,
)
from fieldlevel.study.robustness.rows import thirds


def controls_of(folds: Folds, target: str, best: Sequence[MethodOptions]) -> Roles:
    """The controls of one fold; none where it is not among those that have some.

    Args:
        folds: of the study.
        target: the suite that is left out.
        best: methods with their hyper-parameters, the best first; the first that is not pooling is looked at, and where
            rows are no longer siblings the first that does not need such.
    """
    if folds.suites.index(target) >= folds.spec.control_folds:
        return {}
    others = folds.others(target)
    whole = {suite: folds.rows[suite].train for suite in others}
    same = {suite: thirds(folds.rows[suite].train, len(others))[0] for suite in others}
    own = {suite: thirds(folds.rows[suite].train, len(others))[place] for place, suite in enumerate(others)}
    roles = {
        **folds.control(Role("control", POOLED, (target,), EQUAL_MAPS), same, PLAIN),
        **folds.control(Role("control", POOLED, (target,), NO_SHARED_ROWS), own, PLAIN),
    }
    named = [each for each in best if each.method != POOLED]
    for method in [each for each in named if each.method not in OF_SIBLINGS][:1]:
        name = method.method
        roles |= folds.control(Role("control", name, (target,), NO_SHARED_ROWS), own, method)
        roles |= folds.control(Role("control", name, (target,), PERMUTED_SUITES), whole, method, permuted=True)
    for method in named[:1]:
        if (idle := without_effect(method)) is not None:
            roles |= folds.control(Role("control", method.method, (target,), ZERO_WEIGHT), whole, idle)
    return roles
