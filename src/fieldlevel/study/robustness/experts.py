r"""Mixtures of networks of one suite each, from what these networks say of the same maps.

With moments mu_k and sigma_k of K networks the mixture with equal weights has

    mu = sum_k mu_k / K    and    sigma^2 = sum_k (sigma_k^2 + (mu_k - mu)^2) / K

(`inference.ensemble`): where suites disagree on a map, its error bar grows. Nothing is trained for it but the networks
of the matrix, and of the choice and for transfer error bars one narrow and one full network of each suite.

References:
    Arpit et al. 2022, arXiv:2110.10832 (ensembles generalise better over domains than networks on all of them).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.robustness.choosing import Tested
from fieldlevel.study.robustness.robust_methods import EXPERTS
from fieldlevel.study.robustness.roles import SINGLE, Kind, Role


def mixed_choice(tested: Tested, suites: Sequence[str], names: Sequence[str]) -> dict[Role, tuple[PairResult, ...]]:
    """The mixtures that are compared with other methods in the choice.

    Args:
        tested: the networks of one suite each among others; no mixtures where there are none.
        suites: of the study.
        names: of the parameters that claims are about.
    """
    return _without_two(tested, "choice", suites, names)


def mixed_full_size(tested: Tested, suites: Sequence[str], names: Sequence[str]) -> dict[Role, tuple[PairResult, ...]]:
    """The mixtures of full size: of all suites but one, of all, and for transfer error bars; arguments as above."""
    singles = {suite: Role("matrix", SINGLE, (suite,)) for suite in suites}
    inner = _without_two(tested, "inner", suites, names)
    if not inner:
        return {}
    left_out = {
        Role("leave one out", EXPERTS, (target,)): tuple(
            mixed(pairs, names) for pairs in _by_seed(tested, [singles[s] for s in suites if s != target], target)
        )
        for target in suites
    }
    every = tuple(mixed(pairs, names) for suite in suites for pairs in _by_seed(tested, list(singles.values()), suite))
    return {**left_out, Role("all suites", EXPERTS): every, **inner}


def mixed_set_p(set_p: Mapping[tuple[Role, str], float], tested: Tested) -> dict[tuple[Role, str], float]:
    """The set test of the mixtures without a suite: as unlike as the most unlike member finds (Bonferroni).

    Args:
        set_p: of the networks of one suite each, by role and tested suite.
        tested: what was tested, the mixtures included.
    """
    found = {}
    for role in tested:
        if (role.kind, role.method) != ("leave one out", EXPERTS):
            continue
        members = [p for (other, suite), p in set_p.items() if _is_member(other, role) and suite == role.target]
        if members:
            found[role, role.target] = min(1.0, len(members) * min(members))
    return found


def _is_member(single: Role, mixture: Role) -> bool:
    return single.kind == "matrix" and single.target != mixture.target


def _without_two(
    tested: Tested, kind: Kind, suites: Sequence[str], names: Sequence[str]
) -> dict[Role, tuple[PairResult, ...]]:
    singles = {suite: Role(kind, SINGLE, (suite,)) for suite in suites}
    if not all(role in tested and tested[role] for role in singles.values()):
        return {}
    return {
        Role(kind, EXPERTS, (inner, target)): tuple(
            mixed(pairs, names)
            for pairs in _by_seed(tested, [singles[s] for s in suites if s not in (inner, target)], inner)
        )
        for target in suites
        for inner in suites
        if inner != target
    }


def _by_seed(tested: Tested, roles: Sequence[Role], suite: str) -> Iterator[list[PairResult]]:
    """What networks of some roles say of a suite, those of one seed together."""
    pairs = [pair for role in roles for pair in tested[role] if pair.test_suite == suite]
    for _, each in groupby(sorted(pairs, key=lambda pair: pair.seed), key=lambda pair: pair.seed):
        yield list(each)


def mixed(pairs: Sequence[PairResult], names: Sequence[str]) -> PairResult:
    """What several networks say of the same maps, mixed.

    Args:
        pairs: of each network.
        names: of the parameters to keep, which all of them infer.

    Raises:
        UserError: networks that were not tested on the same maps.
    """
    first = pairs[0]
    kept = [_selected(pair.predictions, names) for pair in pairs]
    places = [np.stack([each.simulation, each.map_index]) for each in kept]
    if not all(np.array_equal(place, places[0]) for place in places[1:]):
        told = " and ".join(dict.fromkeys(pair.train_suite for pair in pairs))
        raise UserError(f"{EXPERTS}: networks of {told} were not tested on the same maps of {first.test_suite}")
    means, stds = (np.array([getattr(each, name) for each in kept], dtype=float) for name in ("mean", "std"))
    std = np.sqrt((stds**2).mean(0) + means.var(0))
    predictions = replace(kept[0], mean=means.mean(0), std=std)
    return replace(first, predictions=predictions, scores=evaluate(predictions))


def _selected(predictions: Predictions, names: Sequence[str]) -> Predictions:
    columns = [predictions.layout.column(name) for name in names]
    arrays = {name: getattr(predictions, name)[:, columns] for name in ("theta", "mean", "std")}
    return replace(predictions, **arrays, layout=predictions.layout.select(names))
