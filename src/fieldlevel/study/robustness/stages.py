"""The stages of a study, each of which needs what the one before it found: choice, choice of adaptation, full size.

A method that was compared without maps of the left-out suite brings the hyper-parameters that were best there into the
choice of the adaptation, which compares methods alone then. Three suites leave nothing to compare before: all
hyper-parameters are compared in the adaptation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fieldlevel.layout import Parameter
from fieldlevel.study.robustness.choosing import Choice, Tested, choose, full_size, over_all, without_diverged
from fieldlevel.study.robustness.controls import controls_of
from fieldlevel.study.robustness.folds import Folds
from fieldlevel.study.robustness.robust_methods import EXPERTS, POOLED, adapting_methods, candidates_of, methods_of
from fieldlevel.study.robustness.robustness_spec import MethodOptions
from fieldlevel.study.robustness.roles import ALL_TARGET, ZERO_WEIGHT, Roles

_FEWEST_TO_CHOOSE = 4
"""Suites: of three, inner leave-one-out leaves one to train on, where all methods are the same."""

Choices = Mapping[str, Choice]
"""By left-out suite."""
Candidates = Mapping[str, Sequence[MethodOptions]]
"""What is compared for each left-out suite."""


@dataclass(frozen=True)
class Stages:
    """What is trained in each stage.

    Attributes:
        folds: suites and rows.
        parameters: that claims are about.
    """

    folds: Folds
    parameters: Sequence[Parameter]

    @property
    def compared(self) -> list[MethodOptions]:
        """Methods with their hyper-parameters that see no map of the left-out suite, pooling first."""
        spec = self.folds.spec
        methods = methods_of(spec, have_siblings=self.folds.have_siblings)
        return [each for method in methods for each in candidates_of(spec, method)]

    @property
    def chooses(self) -> bool:
        """Whether anything that is asked for needs the choice."""
        parts = {"leave one out", "controls"} & set(self.folds.spec.parts)
        return bool(parts) and len(self.compared) > 1

    def choice(self) -> Roles:
        """Networks of the choice."""
        if not self.chooses:
            return {}
        roles = {
            role: tests
            for target in self.folds.suites
            for role, tests in self.folds.choice(target, self.compared).items()
        }
        return {**roles, **(self.folds.choice_experts() if self.mixes else {})}

    @property
    def mixes(self) -> bool:
        """Whether networks of one suite each are mixed."""
        return any(each.method == EXPERTS for each in self.compared)

    def choices(self, tested: Tested) -> dict[str, Choice]:
        """What was best for each left-out suite."""
        every = dict.fromkeys(self.folds.suites, self.compared)
        if not self.chooses:
            return {suite: Choice(suite, {}, tuple(each)) for suite, each in every.items()}
        return without_diverged(self._chosen(every, tested))

    def adapting_candidates(self, choices: Choices) -> Candidates:
        """Methods that see maps of the left-out suite; of those compared before the best hyper-parameters."""
        spec, n_suites = self.folds.spec, len(self.folds.suites)
        if "adaptation" not in spec.parts:
            return {}
        has_chosen = self.chooses and n_suites >= _FEWEST_TO_CHOOSE

        def of(choice: Choice, method: str) -> Sequence[MethodOptions]:
            known = [each for each in choice.ranked if each.method == method] if has_chosen else []
            return known or candidates_of(spec, method)

        return {
            suite: [each for method in adapting_methods(spec) for each in of(choice, method)]
            for suite, choice in choices.items()
        }

    def adapting_choice(self, candidates: Candidates) -> Roles:
        """Networks of the choice of the adaptation."""
        return {
            role: tests
            for target, compared in candidates.items()
            if len(compared) > 1
            for role, tests in self.folds.adapting_choice(target, compared).items()
        }

    def adapting(self, candidates: Candidates, tested: Tested) -> dict[str, Choice]:
        """What was best for each left-out suite."""
        return self._chosen(candidates, tested, ALL_TARGET)

    def _chosen(self, candidates: Candidates, tested: Tested, detail: str = "") -> dict[str, Choice]:
        return {
            suite: choose(suite, compared, tested, self.parameters, detail)
            if len(compared) > 1
            else Choice(suite, {}, tuple(compared))
            for suite, compared in candidates.items()
        }

    def methods(self, choices: Choices) -> tuple[str, ...]:
        """Those of leave-one-out at full size, pooling first; none where it is not asked for.

        Networks of one suite each are there anyway: their mixture comes last, whatever its rank.
        """
        spec = self.folds.spec
        if "leave one out" not in spec.parts:
            return ()
        trained = [replace(each, ranked=tuple(ranked_but_experts(each))) for each in choices.values()]
        are_mixed = self.mixes and all(EXPERTS in map(_method, choice.ranked) for choice in choices.values())
        return (*full_size(trained, spec.n_best), *((EXPERTS,) if are_mixed else ()))

    def full_size(self, choices: Choices, adapting: Choices) -> Roles:
        """The matrix, and what was asked for beside it.

        A method of weight zero stands next to pooling: both are to be trained on maps that are the same to the bit,
        which those of a later run, simulated anew, are not.
        """
        folds, methods = self.folds, self.methods(choices)
        roles = dict(folds.matrix())
        if methods:
            overall = [over_all([*choices.values()], self.compared, method) for method in methods]
            roles |= folds.all_suites(overall)
        if EXPERTS in methods:
            roles |= folds.inner_experts()
        for target in folds.suites:
            choice = choices[target]
            taken = [choice.of(method) for method in methods]
            told = [each for each in taken if each.method in (POOLED, choice.best.method)]
            trained = [each for each in ranked_but_experts(choice) if each.method in (methods or (each.method,))]
            controls = controls_of(folds, target, trained) if "controls" in folds.spec.parts else {}
            roles |= {role: tests for role, tests in controls.items() if role.detail == ZERO_WEIGHT}
            roles |= {**folds.leave_one_out(target, taken), **folds.inner(target, told)} if taken else {}
            roles |= folds.adaptation(target, adapting[target].best) if adapting else {}
            roles |= controls
        return roles


def _method(each: MethodOptions) -> str:
    return each.method


def ranked_but_experts(choice: Choice) -> list[MethodOptions]:
    """The methods of which networks are trained, the best first."""
    return [each for each in choice.ranked if each.method != EXPERTS]
