"""What no letter can do, refused before anything is simulated or trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from fieldlevel.data.geometry import RECORD_NAME
from fieldlevel.data.pixels import ZERO_FIELDS
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import OF_LOGARITHM
from fieldlevel.errors import UserError, shown
from fieldlevel.extras import refuse_without
from fieldlevel.json_files import read_json_object
from fieldlevel.search.search_settings import MOST_TRIALS
from fieldlevel.simulate.sets import MOST_CONDITIONS, MOST_VALUES, VALUES_EACH
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import refuse_values
from fieldlevel.spellings import without_spaces
from fieldlevel.study.feedback_response import ONE_PARAMETER_SET
from fieldlevel.study.keys import Plan
from fieldlevel.study.letter_plan import check_suites, everything, searches, sets_wanted, usual_suites, wanted
from fieldlevel.study.letter_spec import SHARED, LetterSpec
from fieldlevel.study.numerics_sets import TRAINING_SUFFIXES
from fieldlevel.suites import nbody_twin
from fieldlevel.training import settings
from fieldlevel.training.train_spec import TrainSpec

MOST_SEEDS = 1000


def check_letter(spec: LetterSpec) -> None:
    """Refuse what no letter can do, before anything is simulated or trained.

    Raises:
        UserError: with the setting and what is allowed.
    """
    distinct, own_set = "positive numbers, each once", spec.train.set_name
    trainable = (own_set, *(f"{own_set}{suffix}" for suffix in TRAINING_SUFFIXES))
    refuse_values(
        spec,
        {
            "seeds": (1 <= spec.seeds <= MOST_SEEDS, f"numbers from 1 to {MOST_SEEDS:,}"),
            "other_seeds": (1 <= spec.other_seeds <= spec.seeds, f"numbers from 1 to seeds = {spec.seeds}"),
            "one_parameter_seeds": (
                0 <= spec.one_parameter_seeds <= MOST_CONDITIONS,
                f"numbers from 0 to {MOST_CONDITIONS:,}",
            ),
            "one_parameter_values": (
                spec.one_parameter_values % 2 == 1 and 3 <= spec.one_parameter_values <= MOST_VALUES,
                f"3, 5, 7, ... to {MOST_VALUES}",
            ),
            "map_trials": (0 <= spec.map_trials <= MOST_TRIALS, f"numbers from 0 to {MOST_TRIALS:,}"),
            "summary_trials": (0 <= spec.summary_trials <= MOST_TRIALS, f"numbers from 0 to {MOST_TRIALS:,}"),
            "smoothing": (_are_scales(spec.smoothing), distinct),
            "k_max": (_are_scales(spec.k_max), distinct),
            "numerics_smoothing": (_are_scales(spec.numerics_smoothing), distinct),
            "numerics_train": (
                set(spec.numerics_train) <= set(trainable)
                and len(set(spec.numerics_train)) == len(spec.numerics_train),
                f"some of {', '.join(trainable)}, each once",
            ),
        },
    )
    _refuse_without_numerics(spec)
    if spec.suites:
        check_suites(spec.suites)
    own = {"transform": TransformSpec(), "labels": "true", "suite": TrainSpec().suite, "sources": ()}
    every = "every experiment of a letter sets it itself, do not give it"
    refuse_changes(spec.train, "train", own | {"inputs": "maps"}, every)
    refuse_changes(spec.summary, "summary", own | {"inputs": "power spectrum"}, every)
    refuse_changes(spec.simulate, "simulate", {"suites": SimulateSpec().suites}, every)
    if spec.train.seed + spec.seeds > 1 << 63:
        raise UserError(f"train.seed = {spec.train.seed}: {spec.seeds} seeds from it on pass 2^63; take a smaller one")
    plan = planned(spec)
    for words in spec.only:
        if not words or not _is_in(plan, words):
            raise UserError(_told_of_no_experiment(spec, plan, words))
    if spec.train.field in ZERO_FIELDS:
        _refuse_logarithms(spec.train.field, wanted(spec, plan))
    if searches(spec, wanted(spec, plan)):
        refuse_without("optuna")


def _refuse_without_numerics(spec: LetterSpec) -> None:
    """Refuse settings of an experiment that is left out."""
    for setting in ("numerics_train", "numerics_smoothing"):
        if getattr(spec, setting) and not spec.numerics:
            given = " ".join(map(str, getattr(spec, setting)))
            told = "would have no effect beside --no-numerics (numerics = false)"
            raise UserError(f"{setting} = {given}: {told}; give one of the two")


def with_experiments(spec: LetterSpec) -> LetterSpec:
    """The spec with experiments to do by their own words, where they are spelled without spaces: `power-spectrum`."""
    if not spec.only:
        return spec
    labels = [key.label for key in planned(replace(spec, one_parameter_seeds=1, numerics=True))]
    return replace(spec, only=tuple(_own_words(words, labels) for words in spec.only))


def _own_words(words: str, labels: Sequence[str]) -> str:
    """The beginning of a label that words are when both are spelled without spaces; else the words."""
    if any(label.startswith(words) for label in labels):
        return words
    spelled = (label for label in labels if without_spaces(label).startswith(words))
    return next((label[: len(words)] for label in spelled), words)


def _is_in(plan: Plan, words: str) -> bool:
    return any(key.label.startswith(words) for key in plan)


def _told_of_no_experiment(spec: LetterSpec, plan: Plan, words: str) -> str:
    """Why nothing has these first words: it was left out, or there is no such thing."""
    if words and _is_in(planned(replace(spec, one_parameter_seeds=1)), words):
        return f"only: {words!r}, which one_parameter_seeds = 0 leaves out; give one of the two"
    if words and _is_in(planned(replace(spec, numerics=True)), words):
        return f"only: {words!r}, which --no-numerics (numerics = false) leaves out; give one of the two"
    names = dict.fromkeys((key.name or key.kind) if key.sets else key.label for key in plan)
    return f"only: no experiment {words!r}; choose from {', '.join(map(repr, names))}"


def _are_scales(scales: Sequence[float]) -> bool:
    """Whether these are positive numbers with names of their own."""
    return all(0 < scale < math.inf for scale in scales) and len({f"{scale:g}" for scale in scales}) == len(scales)


def refuse_unused(spec: LetterSpec, usual: LetterSpec, data: Path | None) -> None:
    """Refuse settings that somebody gave in vain.

    Args:
        spec: that may be used.
        usual: where it comes from: what this has, nobody gave.
        data: the folder of maps; None where they are to be simulated.

    Raises:
        UserError: with the setting and the reason.
    """
    settings.refuse_unused(spec.train, [usual.train], "train.")
    settings.refuse_unused(spec.summary, [usual.summary], "summary.")
    for setting in SHARED:
        given = getattr(spec.summary, setting)
        if given not in (getattr(spec.train, setting), getattr(usual.summary, setting)):
            raise UserError(f"summary.{setting}: would have no effect, as that of train is taken; give train.{setting}")
    if data is not None:
        refuse_simulations(spec.simulate, usual.simulate, data)
        _refuse_one_parameter(spec, usual, data)


def refuse_simulations(given: SimulateSpec, usual: SimulateSpec, data: Path) -> None:
    """Refuse settings of simulations beside a folder of maps, unless it was simulated with them.

    Raises:
        UserError: with the setting.
    """
    for setting, value in asdict(given).items():
        if value != getattr(usual, setting) and not _was_simulated_with(data, given.set_name, setting, value):
            told = f"simulate.{setting} = {shown(value)}"
            raise UserError(f"{told}: would have no effect, as the maps are those of --data; leave it out")


def _refuse_one_parameter(spec: LetterSpec, usual: LetterSpec, data: Path) -> None:
    """Refuse sizes of the set 1P beside a folder of maps, unless it has them; none of it may be wanted in any case."""
    sizes = (("one_parameter_seeds", "n_seeds", 1), ("one_parameter_values", "n_values", VALUES_EACH))
    for setting, of_set, without in sizes:
        given = getattr(spec, setting)
        is_idle = given not in (getattr(usual, setting), 0)
        if is_idle and not _was_simulated_with(data, ONE_PARAMETER_SET, of_set, given, without):
            raise UserError(f"{setting} = {given}: would have no effect, as the maps are those of --data; leave it out")


def _was_simulated_with(directory: Path, set_name: str, setting: str, value: object, without: object = None) -> bool:
    """Whether a folder's own record says that the set of its mock suites was simulated with this setting.

    Args:
        directory: the folder.
        set_name: of the suites.
        setting: of `SimulateSpec`.
        value: asked for.
        without: what holds where a record has no such setting.
    """
    try:
        record = read_json_object(directory / RECORD_NAME)
    except UserError:
        return False
    specs = [each.get("spec") for each in record.values() if isinstance(each, dict)]
    of_set = [each for each in specs if isinstance(each, dict) and each.get("set_name") == set_name]
    known = [each.get(setting, without) for each in of_set]
    return bool(known) and all(each in (value, list(value) if isinstance(value, tuple) else value) for each in known)


def planned(spec: LetterSpec) -> Plan:
    """All that a letter of these settings could do, if every suite had a gravity-only twin, thinned sets and 1P."""
    suites, own = spec.suites or usual_suites(), spec.train.set_name
    names = (own, f"{own}thin2", *(spec.numerics_train or (f"{own}thinned",)), ONE_PARAMETER_SET)
    sets = dict.fromkeys(suites, sets_wanted(spec, names))
    return everything(spec, suites, {suite: nbody_twin(suite) for suite in suites}, sets)


def trained_transforms(spec: LetterSpec) -> list[TransformSpec]:
    """Of the maps that some wanted network is trained on."""
    tests = (test for each in wanted(spec, planned(spec)).values() for test in each)
    return list(dict.fromkeys(test.network.transform for test in tests))


def _refuse_logarithms(field: str, plan: Plan) -> None:
    """Refuse experiments on the logarithm of maps that may have none."""
    tests = [test for each in plan.values() for test in each]
    kinds = dict.fromkeys(kind for test in tests for kind in (test.transform.kind, test.network.transform.kind))
    if found := [kind for kind in kinds if kind in OF_LOGARITHM]:
        raise UserError(
            f"{' and '.join(found)}: work on the logarithm of a map, which {field} does not always have; "
            "name other experiments with --only"
        )


def refuse_changes(given: TrainSpec | SimulateSpec, name: str, expected: Mapping[str, object], reason: str) -> None:
    """Refuse settings that are not for the user to give.

    Args:
        given: with the settings.
        name: of it among those of the study.
        expected: what they are where nobody gave them.
        reason: why, and what to do.

    Raises:
        UserError: with the setting.
    """
    for setting, value in expected.items():
        if getattr(given, setting) != value:
            told = getattr(given, setting) if isinstance(value, str) else "changed"
            raise UserError(f"{name}.{setting}: {told}; {reason}")
