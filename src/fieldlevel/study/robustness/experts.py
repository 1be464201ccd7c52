r"""Mixtures of networks of one suite each, from what these networks say of the same maps.

With moments mu_k and sigma_k of K networks the mixture with equal weights has

    mu = sum_k mu_k / K    and    sigma^2 = sum_k (sigma_k^2 + (mu_k - mu)^2) / K

(`inference.ensemble`): where suites disagree on a map, its error bar grows. Nothing is trained for it but the networks
of the matrix, and of the choice and for transfer error bars one narrow and one full network of each suite.

At full size the tested maps, all together, are first shown to the set test of every member (`inference.trust`), which
knows no label. Members that do not find them unlike those of their training answer; where all do, as of a suite that
none was trained on, all of them answer. Networks are so not asked about maps of which another one knows better.

References:
    Arpit et al. 2022, arXiv:2110.10832 (ensembles generalise better over domains than networks on all of them).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.inference.trust.judging import LEVEL
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.robustness.choosing import Tested
from fieldlevel.study.robustness.robust_methods import EXPERTS
from fieldlevel.study.robustness.roles import SINGLE, Kind, Role
from fieldlevel.study.robustness.set_tests import SetTests


def mixed_choice(tested: Tested, suites: Sequence[str], names: Sequence[str]) -> dict[Role, tuple[PairResult, ...]]:
    """The mixtures that are compared with other methods in the choice.

    Args:
        tested: the networks of one suite each among others; no mixtures where there are none.
        suites: of the study.
        names: of the parameters that claims are about.
    """
    return _without_two(tested, "choice", suites, names)


def mixed_full_size(
    tested: Tested, suites: Sequence[str], names: Sequence[str], set_p: SetTests
) -> dict[Role, tuple[PairResult, ...]]:
    """The mixtures of full size: of all suites but one, of all, and for transfer error bars.

    Args:
        tested: as above.
        suites: as above.
        names: as above.
        set_p: of the networks of the matrix; members without a set test answer always.
    """
    singles = {suite: Role("matrix", SINGLE, (suite,)) for suite in suites}
    inner = _without_two(tested, "inner", suites, names)
    if not inner:
        return {}
    left_out = {
        Role("leave one out", EXPERTS, (target,)): tuple(
            mixed(_believed(pairs, set_p), names)
            for pairs in _by_seed(tested, [singles[s] for s in suites if s != target], target)
        )
        for target in suites
    }
    every = tuple(
        mixed(_believed(pairs, set_p), names)
        for suite in suites
        for pairs in _by_seed(tested, list(singles.values()), suite)
    )
    return {**left_out, Role("all suites", EXPERTS): every, **inner}


def mixed_set_p(set_p: SetTests, tested: Tested) -> SetTests:
    """The set test of the mixtures without a suite: as unlike as the most alike member finds, which answers.

    Of maps like those of any member's training that is at most 5% as often as it should.

    Args:
        set_p: of the networks of one suite each.
        tested: what was tested, the mixtures included.
    """
    found = {}
    for role, pairs in tested.items():
        if (role.kind, role.method) != ("leave one out", EXPERTS):
            continue
        members = [p for (other, suite), p in set_p.items() if _is_member(other, role) and suite == role.target]
        known = {pair.seed: [p[pair.seed] for p in members if pair.seed in p] for pair in pairs}
        if most := {seed: max(p) for seed, p in known.items() if p}:
            found[role, role.target] = most
    return found


def _is_member(single: Role, mixture: Role) -> bool:
    return single.kind == "matrix" and single.target != mixture.target


def _believed(pairs: Mapping[Role, PairResult], set_p: SetTests) -> list[PairResult]:
    """Those of the members that do not find the maps unlike those of their training; all where all of them do."""
    alike = [
        pair for role, pair in pairs.items() if not set_p.get((role, pair.test_suite), {}).get(pair.seed, 1.0) < LEVEL
    ]
    return alike or list(pairs.values())


def _without_two(
    tested: Tested, kind: Kind, suites: Sequence[str], names: Sequence[str]
) -> dict[Role, tuple[PairResult, ...]]:
    singles = {suite: Role(kind, SINGLE, (suite,)) for suite in suites}
    if not all(role in tested and tested[role] for role in singles.values()):
        return {}
    return {
        Role(kind, EXPERTS, (inner, target)): tuple(
            mixed(list(pairs.values()), names)
            for pairs in _by_seed(tested, [singles[s] for s in suites if s not in (inner, target)], inner)
        )
        for target in suites
        for inner in suites
        if inner != target
    }


def _by_seed(tested: Tested, roles: Sequence[Role], suite: str) -> Iterator[dict[Role, PairResult]]:
    """What networks of some roles say of a suite, those of one seed together."""
    pairs = [(role, pair) for role in roles for pair in tested[role] if pair.test_suite == suite]
    for _, each in groupby(sorted(pairs, key=lambda found: found[1].seed), key=lambda found: found[1].seed):
        yield dict(each)


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
