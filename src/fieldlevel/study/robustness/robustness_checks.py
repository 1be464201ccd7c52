"""What no robustness study can do, refused before anything is simulated or trained."""

from dataclasses import replace
from pathlib import Path

from fieldlevel.errors import UserError
from fieldlevel.spec_io import refuse_values
from fieldlevel.study.letter_checks import refuse_changes, refuse_simulations
from fieldlevel.study.robustness.robust_methods import EXPERTS, adapting_methods, candidates_of, methods_of, with_method
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec, choice_training
from fieldlevel.training import settings
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec


def check_robustness(spec: RobustnessSpec) -> None:
    """Refuse what no study can do, before anything is simulated or trained.

    Raises:
        UserError: with the setting and what is allowed.
    """
    share, hidden = "numbers between 0 and 1", "positive whole numbers"
    refuse_values(
        spec,
        {
            "parts": (len(set(spec.parts)) == len(spec.parts), "each once"),
            "n_best": (0 <= spec.n_best <= 20, "numbers from 0 to 20"),
            "seeds": (1 <= spec.seeds <= 1000, "numbers from 1 to 1,000"),
            "adaptation_seeds": (1 <= spec.adaptation_seeds <= 1000, "numbers from 1 to 1,000"),
            "adaptation_inner": (spec.adaptation_inner > 0, hidden),
            "curve_folds": (spec.curve_folds >= 0, "numbers from 0"),
            "control_folds": (spec.control_folds >= 0, "numbers from 0"),
            "k": (all(k > 0 for k in spec.k) and len(set(spec.k)) == len(spec.k), f"{hidden}, each once"),
            "target_part": (0 < spec.target_part < 1, share),
            "target_share": (0 < spec.target_share < 1, share),
            "choice_part": (0 < spec.choice_part < 1, share),
            "choice_hidden": (spec.choice_hidden > 0, hidden),
            "choice_steps": (spec.choice_steps > 0, hidden),
        },
    )
    own = {"suite": TrainSpec().suite, "sources": (), "labels": "true", "inputs": "maps"}
    refuse_changes(spec.train, "train", own, "a robustness study sets it itself, do not give it")
    refuse_changes(spec.train, "train", {"method": TrainSpec().method}, "name methods to compare with --methods")
    if spec.test_set == spec.train.set_name:
        raise UserError(f"test_set = {spec.test_set}: the set of the training; leave it out, its test rows are taken")
    check_train_spec(choice_training(spec))
    compared = dict.fromkeys((*methods_of(spec), *adapting_methods(spec)))
    if idle := [each.method for each in spec.candidates if each.method not in compared]:
        raise UserError(f"candidates: {idle[0]} is not among the methods {', '.join(compared)}; name it with --methods")
    for method in compared:
        for candidate in candidates_of(spec, method):
            if method == EXPERTS:
                continue
            check_train_spec(with_method(_sourced(spec, is_adapting=method in adapting_methods(spec)), candidate))


def _sourced(spec: RobustnessSpec, *, is_adapting: bool) -> TrainSpec:
    """A training on three suites, the last of them perhaps without labels."""
    set_name = spec.train.set_name
    sources = tuple(SourceSpec(name, set_name) for name in ("A", "B", "C"))
    last = SourceSpec("D", set_name, labelled=False)
    return replace(spec.train, suite="A", sources=(*sources, last) if is_adapting else sources)


def refuse_unused(spec: RobustnessSpec, usual: RobustnessSpec, data: Path | None) -> None:
    """Refuse settings that somebody gave in vain; arguments as of `letter_checks.refuse_unused`.

    Raises:
        UserError: with the setting and the reason.
    """
    settings.refuse_unused(spec.train, [usual.train], "train.")
    if data is not None:
        refuse_simulations(spec.simulate, usual.simulate, data)
