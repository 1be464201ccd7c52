"""The networks of a robustness study as specs: what each is taught, shown and tested on.

References:
    Gulrajani & Lopez-Paz 2020, arXiv:2007.01434 (choice among the training domains).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.study.keys import Tests
from fieldlevel.study.robustness.robust_methods import ADAPTING_ALONE, EXPERTS, POOLED, with_method
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec, choice_training
from fieldlevel.study.robustness.roles import ALL_TARGET, NO_TARGET, SHIFTED, SINGLE, Kind, Role, Roles, k_target
from fieldlevel.study.robustness.rows import Numbers, Rows, cut, in_half_of_prior
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec

PLAIN = MethodOptions(POOLED)


@dataclass(frozen=True)
class Folds:
    """The suites of a study with their rows.

    Attributes:
        spec: of the study.
        suites: three or more.
        rows: of each suite.
        cosmology: of all simulations of each suite, in units of the prior, (n, P).
        n_maps: of a simulation.
        have_siblings: whether simulations of one number have the same initial conditions in all suites.
    """

    spec: RobustnessSpec
    suites: tuple[str, ...]
    rows: Mapping[str, Rows]
    cosmology: Mapping[str, FloatArray]
    n_maps: int = 15
    have_siblings: bool = True

    def others(self, *left_out: str) -> tuple[str, ...]:
        """All suites but some."""
        return tuple(suite for suite in self.suites if suite not in left_out)

    def matrix(self) -> Roles:
        """A network of each suite, tested on all: also the oracles of leave-one-out."""
        return {
            Role("matrix", SINGLE, (suite,)): self._tested(self._single(suite, self.rows[suite].train), self.suites)
            for suite in self.suites
        }

    def all_suites(self, methods: Sequence[MethodOptions]) -> Roles:
        """Networks on all suites: what robust training costs at home."""
        rows = {suite: self.rows[suite].train for suite in self.suites}
        return {
            Role("all suites", each.method): self._tested(self._taught(self.spec.train, rows, each), self.suites)
            for each in trained(methods)
        }

    def leave_one_out(self, target: str, methods: Sequence[MethodOptions]) -> Roles:
        """Networks on all suites but one, tested on that one."""
        rows = {suite: self.rows[suite].train for suite in self.others(target)}
        return {
            Role("leave one out", each.method, (target,)): self._tested(
                self._taught(self.spec.train, rows, each), (target,)
            )
            for each in trained(methods)
        }

    def choice(self, target: str, methods: Sequence[MethodOptions]) -> Roles:
        """Narrow networks on all suites but the left-out one and one more, compared on that one's inner rows."""
        train = choice_training(self.spec)
        return {
            Role("choice", each.label, (inner, target)): self._compared(train, inner, target, each)
            for each in trained(methods)
            for inner in self.others(target)
        }

    def choice_experts(self) -> Roles:
        """Narrow networks of one suite each, compared on the inner rows of the others."""
        return self._experts("choice", choice_training(self.spec))

    def inner_experts(self) -> Roles:
        """The same of full size, from whose errors transfer error bars of the mixture follow."""
        return self._experts("inner", self.spec.train)

    def _experts(self, kind: Kind, train: TrainSpec) -> Roles:
        return {
            Role(kind, SINGLE, (suite,)): tuple(
                self._on_inner(self._taught(train, {suite: self.rows[suite].inner}, PLAIN), inner)
                for inner in self.others(suite)
            )
            for suite in self.suites
        }

    def inner(self, target: str, methods: Sequence[MethodOptions]) -> Roles:
        """The same of full size, from whose errors transfer error bars follow."""
        return {
            Role("inner", each.method, (inner, target)): self._compared(self.spec.train, inner, target, each)
            for each in trained(methods)
            for inner in self.others(target)
        }

    def _compared(self, train: TrainSpec, inner: str, target: str, method: MethodOptions) -> Tests:
        rows = {suite: self.rows[suite].inner for suite in self.others(inner, target)}
        used = method if len(rows) > 1 else PLAIN
        return (self._on_inner(self._taught(train, rows, used), inner),)

    def adapting_choice(self, target: str, methods: Sequence[MethodOptions]) -> Roles:
        """Narrow networks that also see maps of the inner suite without labels, compared on its inner rows.

        Inner are only so many suites as the spec says, those that follow the left-out one.
        """
        train, part = choice_training(self.spec), self.spec.target_part
        roles: dict[Role, Tests] = {}
        place = self.suites.index(target)
        following = (*self.suites[place + 1 :], *self.suites[:place])
        for inner in following[: self.spec.adaptation_inner]:
            taught = {s: cut(self.rows[s].inner, part, "target_part")[0] for s in self.others(inner, target)}
            shown = cut(self.rows[inner].inner, part, "target_part")[1]
            for each in methods:
                network = self._taught(train, taught, each, {inner: shown})
                roles[Role("choice", each.label, (inner, target), ALL_TARGET)] = (self._on_inner(network, inner),)
        return roles

    def adaptation(self, target: str, method: MethodOptions) -> Roles:
        """Networks that see maps of the left-out suite without labels: none, all; in some folds few, and half a prior.

        The oracle is taught with the same rows of the left-out suite as these of the others.
        """
        taught = {s: self._labelled(s) for s in self.others(target)}
        shown = cut(self.rows[target].train, self.spec.target_part, "target_part")[1]
        train, name = self.spec.train, method.method
        n_seeds = min(self.spec.seeds, self.spec.adaptation_seeds)
        half = in_half_of_prior(shown, self.cosmology[target])
        curves = {k_target(k): shown[:k] for k in self.spec.k if k < len(shown)}
        fewer = {detail: some for detail, some in {**curves, SHIFTED: half}.items() if self.fills_batch(some)}
        roles = {
            Role("oracle", SINGLE, (target,)): self._tested(
                self._single(target, self._labelled(target)), (target,), n_seeds
            ),
            Role("adaptation", POOLED, (target,), NO_TARGET): self._tested(
                self._taught(train, taught, PLAIN), (target,), 1
            ),
            Role("adaptation", name, (target,), ALL_TARGET): self._tested(
                self._taught(train, taught, method, {target: shown}), (target,), n_seeds
            ),
        }
        if self.suites.index(target) >= self.spec.curve_folds:
            return roles
        for detail, some in fewer.items():
            network = self._taught(train, taught, method, {target: some})
            roles[Role("adaptation", name, (target,), detail)] = self._tested(network, (target,), 1)
        return roles

    def fills_batch(self, rows: Numbers) -> bool:
        """Whether rows without labels have as many maps as a batch of an adaptation holds of them."""
        share = self.spec.target_share
        return len(rows) * self.n_maps >= round(self.spec.train.batch_size * share / (1 - share))

    def control(
        self, role: Role, rows: Mapping[str, Numbers], method: MethodOptions, *, permuted: bool = False
    ) -> Roles:
        """One network of a control, tested on the suite that it leaves out; suites are perhaps told in random order."""
        train = replace(self.spec.train, labels="permuted suites") if permuted else self.spec.train
        return {role: self._tested(self._taught(train, rows, method), (role.target,), 1)}

    def _labelled(self, suite: str) -> Numbers:
        return cut(self.rows[suite].train, self.spec.target_part, "target_part")[0]

    def _single(self, suite: str, rows: Numbers) -> TrainSpec:
        return self._taught(self.spec.train, {suite: rows}, PLAIN)

    def _taught(
        self,
        train: TrainSpec,
        labelled: Mapping[str, Numbers],
        method: MethodOptions,
        shown: Mapping[str, Numbers] | None = None,
    ) -> TrainSpec:
        """A network that is taught some rows of some suites, and shown others without labels."""
        sources = [self._source(suite, rows) for suite, rows in labelled.items()]
        if shown:
            share = self.spec.target_share
            sources += [
                replace(self._source(suite, rows), labelled=False, share=share) for suite, rows in shown.items()
            ]
            has_drawn = method.method not in ADAPTING_ALONE
            train = replace(train, batch_size=round(train.batch_size / (1 - share))) if has_drawn else train
        first = sources[0]
        has_one = len(sources) == 1 and not first.simulations
        several = replace(train, suite=first.suite, sources=() if has_one else tuple(sources))
        return several if len(sources) == 1 else with_method(several, method)

    def _source(self, suite: str, rows: Numbers) -> SourceSpec:
        is_all = set(rows) == set(self.rows[suite].train)
        return SourceSpec(suite, self.spec.train.set_name, simulations=() if is_all else tuple(sorted(rows)))

    def _on_inner(self, network: TrainSpec, suite: str) -> EvaluateSpec:
        numbers = tuple(sorted(self.rows[suite].inner_test))
        return EvaluateSpec(network, suite, network.field, network.set_name, numbers=numbers)

    def _tested(self, network: TrainSpec, suites: Sequence[str], n_seeds: int | None = None) -> Tests:
        return tuple(
            test
            for number in range(n_seeds or self.spec.seeds)
            for test in self._on(replace(network, seed=network.seed + number), suites)
        )

    def _on(self, network: TrainSpec, suites: Sequence[str]) -> Iterator[EvaluateSpec]:
        set_name = self.spec.test_set
        for suite in suites:
            if set_name:
                yield EvaluateSpec(network, suite, network.field, set_name, simulations="unseen")
            else:
                yield EvaluateSpec(network, suite, network.field, network.set_name)


def trained(methods: Sequence[MethodOptions]) -> list[MethodOptions]:
    """Methods of which networks of several suites are trained."""
    return [each for each in methods if each.method != EXPERTS]


def check_folds(folds: Folds) -> None:
    """Refuse parts of the rows that leave too little, before anything is trained.

    Raises:
        UserError: with the setting and the numbers.
    """
    part, batch = folds.spec.target_part, folds.spec.train.batch_size
    for suite in folds.suites:
        inner = cut(folds.rows[suite].inner, part, "target_part")
        least = min(len(rows) for rows in (*cut(folds.rows[suite].train, part, "target_part"), *inner))
        if least < len(folds.suites) or least * folds.n_maps < batch or not folds.fills_batch(inner[1]):
            n = len(folds.rows[suite].train)
            told = f"{suite}: parts of its {n} training rows hold {least} simulations, {least * folds.n_maps} maps"
            raise UserError(f"{told}: too few for train.batch_size = {batch}; make more, or take smaller batches")
