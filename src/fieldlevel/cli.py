"""The command line: parses arguments, calls the library, turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage or data, 130 interrupted, 143 terminated; they do not depend on whether
anybody reads what is printed. A spec comes from a preset, then a TOML file, then flags; one flag changes one field.
Modules that need PyTorch are imported by the command that runs them, so `--help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fieldlevel import extras, interrupts, streams, trouble
from fieldlevel.arguments import name_of, parse
from fieldlevel.commands import (
    Calibrate,
    Check,
    Command,
    Demo,
    Evaluate,
    Import,
    Infer,
    Letter,
    Project,
    Robustness,
    Shrink,
    Simulate,
    Train,
    Trust,
    Tune,
)
from fieldlevel.errors import TrainingError, UserError
from fieldlevel.extensions import load_extensions
from fieldlevel.files import read_text
from fieldlevel.locks import claimed
from fieldlevel.numerics.memory import keep_freed_memory
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import Spec, is_json, overlay_file, settings_file
from fieldlevel.study.keys import PAIRS_LABELS
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import SCALES
from fieldlevel.training import torchrun
from fieldlevel.training.presets import TRAIN_PRESETS

if TYPE_CHECKING:
    from fieldlevel.inference.map_files import Posteriors

_N_DRAWN = 50_000
"""Samples of each posterior that a corner plot is made of."""
ROBUSTNESS = "robustness"
"""Named with --only of a letter."""
_EXTRA_OF: dict[type, str] = {Letter: "letter", Robustness: "letter"}
"""Of commands that need several extras, the one that brings all of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process when omitted.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad usage or data, 130 interrupted, 143 terminated.
    """
    from fieldlevel import console

    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        streams.prepare()
        with interrupts.raised(), streams.brief_warnings(), streams.flushed():
            load_extensions()
            command = parse(given)
            _check_launch(command)
            keep_freed_memory()
            return _run(command)
    except UserError as error:
        console.error(str(error))
        return 2
    except TrainingError as error:
        console.error(str(error))
        return 1
    except OSError as error:
        console.error(trouble.of_system(error, given[:1]))
        return 1
    except KeyboardInterrupt:
        interrupts.tell(console.error)
        return interrupts.exit_code()
    except (RuntimeError, MemoryError) as error:
        told = trouble.of_device(error)
        if told is None:
            raise
        console.error(told)
        return 1


def _run(command: Command) -> int:
    """The exit code of a command; what it needs of an extra that is not installed is told in a line."""
    try:
        with _workplace(command):
            return _RUN[type(command)](command)
    except ModuleNotFoundError as error:
        told = extras.lacking(error, _EXTRA_OF.get(type(command)))
        if told is None:
            raise
        raise UserError(told) from None


def _workplace(command: Command) -> AbstractContextManager[None]:
    """Context in which a cluster does the work, if the command names one."""
    where = getattr(command, "cluster", None)
    if where is None:
        return nullcontext()
    from fieldlevel.clusters import on_cluster

    return on_cluster(where, command.device)  # type: ignore[union-attr]


def _check_launch(command: Command) -> None:
    """Refuse to do the same work in every process of torchrun, and to train in processes that cannot meet."""
    if isinstance(command, Train):
        torchrun.check()
    elif torchrun.n_processes() > 1:
        raise UserError(f"torchrun: only `train` shares its work; start {name_of(type(command))} without it")


def _letter(command: Letter) -> int:
    """The letter; robustness, where it is asked for, comes after it in a folder of its own."""
    from fieldlevel.study.letter_checks import with_experiments
    from fieldlevel.study.robustness.robustness_data import refuse_few
    from fieldlevel.study.robustness.robustness_scales import of_letter

    command = replace(command, spec=with_experiments(command.spec))
    others = tuple(word for word in command.spec.only if word != ROBUSTNESS)
    if others == command.spec.only:
        return _letter_alone(command)
    refuse_few(command.spec.suites)
    spec = replace(command.spec, only=others or PAIRS_LABELS[1:])
    _letter_alone(replace(command, spec=spec))
    study = of_letter(spec, is_small=_scale_name(command) == "laptop")
    return _study(Robustness(command.data, command.out / "robustness", device=command.device, spec=study), command.out)


def _letter_alone(command: Letter) -> int:
    from fieldlevel import console
    from fieldlevel.report.making import make_letter
    from fieldlevel.study.letter_checks import refuse_unused

    refuse_unused(command.spec, _usual(_scale_of(command), command.config), command.data)
    workers = _processes(command.device)
    with console.progress_display() as listener:
        made = make_letter(
            *(command.spec, command.data, command.out, command.device, workers, listener),
            show_pairs=console.print_pairs,
        )
    console.print_letter(made.document, command.out)
    return 0


def _robustness(command: Robustness) -> int:
    from fieldlevel.study.robustness.robustness_checks import refuse_unused
    from fieldlevel.study.robustness.robustness_scales import robustness_scale

    refuse_unused(command.spec, _usual(robustness_scale(_scale_name(command)), command.config), command.data)
    return _plan(command) if command.plan else _study(command, command.out)


def _plan(command: Robustness) -> int:
    from fieldlevel import console
    from fieldlevel.study.robustness.robustness_checks import check_robustness
    from fieldlevel.study.robustness.robustness_data import prepare_robustness
    from fieldlevel.study.robustness.robustness_plan import plan_robustness

    check_robustness(command.spec)
    with console.progress_display() as listener:
        is_there = command.data is not None
        data = prepare_robustness(command.spec, command.data, command.out, "cpu", 1, listener) if is_there else None
    console.print_plan(plan_robustness(command.spec, command.times, data, command.out))
    return 0


def _study(command: Robustness, shared: Path) -> int:
    """A robustness study; data and runs lie below a folder that a letter may have too."""
    from fieldlevel import console
    from fieldlevel.report.making import make_robustness

    workers = _processes(command.device)
    with console.progress_display() as listener:
        made = make_robustness(
            command.spec, command.data, command.out, command.device, workers, listener, shared=shared
        )
    console.print_robustness(made.document, command.out)
    return 0


def _scale_of(command: Letter) -> LetterSpec:
    return SCALES[_scale_name(command)]()


def _scale_name(command: Letter | Robustness) -> str:
    return command.scale or ("laptop" if command.data is None else "letter")


def _usual(preset: Spec, config: Path | None) -> Spec:
    """What nobody gave as a setting of this command: that of the preset, or of another run's spec."""
    if config is None or not is_json(read_text(settings_file(config))):
        return preset
    return overlay_file(preset, config)


def _simulate(command: Simulate) -> int:
    from fieldlevel import console
    from fieldlevel.mapmaking.shards import Shard
    from fieldlevel.simulate.mock_suite import fill_folder

    shard = Shard.parse(command.shard)
    with console.progress_display() as listener:
        filled = fill_folder(
            command.spec,
            command.out,
            command.device,
            _processes(command.device) if command.workers is None else command.workers,
            listener,
            shard,
            keep_snapshots=command.keep_snapshots,
        )
    if filled.missing:
        told = f"{len(filled.missing)} simulations of other shards are missing in {command.out}"
        console.say(f"shard {shard} is done; {told}")
    else:
        parts = {"made": filled.made, "there already": filled.there}
        named = {how: ", ".join(f"{plan.suite} {plan.set_name}" for plan in each) for how, each in parts.items()}
        console.say(f"{command.out}: {'; '.join(f'{how} {names}' for how, names in named.items() if names)}")
    return 0


def _project(command: Project) -> int:
    from fieldlevel import console
    from fieldlevel.data.cmd_format import SuiteFiles
    from fieldlevel.data.layout_files import find_layout
    from fieldlevel.mapmaking.plan import lacking_parameters
    from fieldlevel.mapmaking.projection import project_snapshots
    from fieldlevel.mapmaking.shards import Shard

    spec, shard = command.spec, Shard.parse(command.shard)
    with console.progress_display() as listener:
        missing = project_snapshots(
            command.snapshots, spec, command.out, command.device, command.workers, listener, shard
        )
    if missing:
        console.say(f"shard {shard} is done; {len(missing)} snapshots of other shards are missing in {command.out}")
    else:
        many = len(command.snapshots) > 1
        console.say(f"maps of {f'{len(command.snapshots)} snapshots' if many else 'the snapshot'} are in {command.out}")
        files = SuiteFiles(command.out, spec.suite, set_name=spec.set_name)
        if not (table := files.parameters_path).exists():
            lacking = ", ".join(lacking_parameters(command.snapshots, spec, find_layout(files)))
            console.say(f"no {table.name}: not every header has {lacking}; give a table with --parameters")
    return 0


def _check(command: Check) -> int:
    from fieldlevel import console
    from fieldlevel.data.suite import inspect_directory, list_suites

    with console.progress_display() as listener:
        defects, remarks = inspect_directory(command.directory, listener)
    if defects:
        console.say(*defects, *(f"remark: {remark}" for remark in remarks))
        return 2
    console.say(
        f"{command.directory}: sound",
        *(f"  {files.maps_path.name}" for files in list_suites(command.directory)),
        *(f"remark: {remark}" for remark in remarks),
    )
    return 0


def _train(command: Train) -> int:
    from fieldlevel import console
    from fieldlevel.inference.calibrated_training import complete
    from fieldlevel.training.distributed import process_group, rank
    from fieldlevel.training.settings import refuse_unused
    from fieldlevel.training.trainer import train

    refuse_unused(command.spec, [_usual(TRAIN_PRESETS[command.preset](), command.config)])
    with process_group(command.device) as device:
        with claimed(command.out) if rank() == 0 else nullcontext(), console.progress_display() as listener:
            weights = train(command.spec, command.data, command.out, str(device), listener)
        is_first = rank() == 0
    if is_first:
        with claimed(command.out), console.progress_display() as listener:
            lacking = complete(weights, command.data, command.device, listener)
        console.say(f"weights: {weights}", *(f"note: {told}" for told in lacking))
    return 0


def _tune(command: Tune) -> int:
    from fieldlevel import console
    from fieldlevel.inference.reference_making import kept_reference
    from fieldlevel.search.search_settings import refuse_unused_in_search
    from fieldlevel.search.trial_tables import read_trials
    from fieldlevel.search.tune import tune

    refuse_unused_in_search(command.spec, _usual(TuneSpec(TRAIN_PRESETS[command.preset]()), command.config))
    with console.progress_display() as listener:
        weights = tune(command.spec, command.data, command.out, command.device, listener, begin_with=command.begin_with)
    console.print_trials(command.spec.train.suite, read_trials(command.out), command.spec.n_kept)
    lacking = [path for path in weights if kept_reference(path) is None]
    console.say(*(f"weights: {path}" for path in weights))
    console.say(*(f"note: {path.parent.name} has no reference; `fieldlevel trust` says why" for path in lacking))
    return 0


def _evaluate(command: Evaluate) -> int:
    from fieldlevel import console
    from fieldlevel.inference.evaluating import evaluate

    where = (command.data, command.suite, command.set_name, command.simulations, command.out, command.device)
    with console.progress_display() as listener:
        found = evaluate(command.weights, *where, listener, anyway=command.anyway)
    document = found.document
    title = f"{command.weights} on {document['tested_on']} {document['data_mark']}".rstrip()
    console.print_scores(title, document["scores"], command.out)
    console.print_error_bars(document)
    console.print_remarks(document["remarks"])
    console.print_outside(document["outside_prior"]["maps"], document["outside_prior"]["parameters"])
    console.say(found.trust.sentence, *(f"note: {remark}" for remark in found.trust.remarks))
    return 0


def _infer(command: Infer) -> int:
    from fieldlevel import console
    from fieldlevel.inference.map_files import infer_file, samples_path
    from fieldlevel.inference.outside_prior import telling_names

    out = command.out or command.maps.parent / f"{command.maps.stem}.posterior.csv"
    weights = (command.weights, *command.members)
    _refuse_numbers(command)
    plot = None if command.plot is None else _place_of_plot(command.plot, command.maps, *weights)
    more = (command.quantiles, command.samples, command.seed, command.plot, command.outputs, command.weighting)
    with console.progress_display() as listener:
        found = infer_file(weights, command.maps, out, command.device, listener, command.anyway, *more)
    mark = " (MOCK DATA: the network was trained on mock maps)" if found.is_mock else ""
    console.print_posteriors(found.mean, found.std, found.layout)
    console.print_remarks(found.remarks)
    console.print_seen(found.seen)
    console.print_outside(found.outside, telling_names(found.layout))
    if found.transfer_std is not None:
        console.print_transfer(found.transfer_std, found.layout, found.transfer_guarantee)
    elif found.transfer_guarantee:
        console.say(f"note: {found.transfer_guarantee}")
    if found.posterior.trust is not None:
        trust = found.posterior.trust
        console.say(trust.sentence, *(f"note: {remark}" for remark in trust.remarks))
    console.say(f"posterior of {console.count_maps(len(found.mean))}{mark}: {out}")
    if command.samples is not None:
        console.say(f"samples: {samples_path(out)}")
    if plot is not None:
        _plot(found, plot)
        console.say(f"plot: {command.plot}")
    return 0


def _refuse_numbers(command: Infer) -> None:
    """Refuse what no posterior has, before the network runs."""
    from fieldlevel.inference.posterior import LARGEST_SEED, MOST_SAMPLES

    if wrong := [p for p in command.quantiles if not 0 < p < 1]:
        raise UserError(f"--quantiles {wrong[0]}: give probabilities between 0 and 1, e.g. 0.16 0.5 0.84")
    columns = [f"{p:g}" for p in command.quantiles]
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise UserError(f"--quantiles: two of them are {twice[0]} in the names of the columns; give each once")
    if command.samples is not None and not 1 <= command.samples <= MOST_SAMPLES:
        raise UserError(f"--samples {command.samples}: give the number of samples of each map, 1 to {MOST_SAMPLES}")
    if not 0 <= command.seed <= LARGEST_SEED:
        raise UserError(f"--seed {command.seed}: give a whole number from 0 to {LARGEST_SEED}")


def _place_of_plot(path: Path, *inputs: Path) -> Path:
    from fieldlevel.figures.style import refuse_other_format
    from fieldlevel.files import make_place_for

    refuse_other_format(path)
    return make_place_for(path, *inputs)


def _plot(found: "Posteriors", path: Path) -> None:
    from fieldlevel.figures.corner import MOST_MAPS, draw_corner
    from fieldlevel.figures.style import save_plot

    posterior = found.posterior[:MOST_MAPS]
    samples = posterior.sample(_N_DRAWN)
    figure = draw_corner(samples, posterior.layout.parameters, joint=posterior.is_joint, mock=found.is_mock)
    save_plot(figure, path)


def _trust(command: Trust) -> int:
    from fieldlevel import console
    from fieldlevel.inference.reference_making import kept_reference, reference_remarks, write_reference

    if command.out is None and command.unseen is None and (kept := kept_reference(command.weights)) is not None:
        console.say(f"{kept}: is there already and is kept; delete it to make it again, or give --out or --unseen")
        return 0
    with console.progress_display() as listener:
        path = write_reference(
            command.weights,
            command.data,
            command.suite,
            command.set_name,
            unseen=command.unseen,
            out=command.out,
            device=command.device,
            listener=listener,
        )
    remarks = reference_remarks(command.weights, path)
    console.say(f"what the training's maps are like: {path}", *(f"note: {remark}" for remark in remarks))
    return 0


def _calibrate(command: Calibrate) -> int:
    from fieldlevel import console
    from fieldlevel.inference.calibrating import calibrate
    from fieldlevel.inference.calibration import calibration_path
    from fieldlevel.inference.packaged import find_weights

    with console.progress_display() as listener:
        found = calibrate(
            command.weights,
            command.data,
            command.suite,
            command.set_name,
            transfer=command.transfer,
            without=command.without,
            device=command.device,
            listener=listener,
        )
    changed = [name for name, changes in zip(found.names, found.rescaling.changes, strict=True) if changes]
    if command.suite:
        told = f"standard deviations of {', '.join(changed)} are rescaled" if changed else "nothing had to be changed"
        console.say(f"calibrated on {found.n_simulations} simulations of {' '.join(found.fitted_on)}: {told}")
    if found.transfer is not None:
        console.say(found.transfer.guarantee)
    console.say(f"calibration: {calibration_path(find_weights(command.weights))}")
    return 0


def _shrink(command: Shrink) -> int:
    from fieldlevel import console
    from fieldlevel.inference.shrink import shrink_weights

    console.say(f"weights in float16: {shrink_weights(command.weights, command.out)}")
    return 0


def _import(command: Import) -> int:
    from fieldlevel import console
    from fieldlevel.inference.published_network import REMARK, import_published

    options = {name: value for name, value in vars(command).items() if name not in ("weights", "out")}
    with console.progress_display() as listener:
        weights = import_published(command.weights, command.out, **options, listener=listener)
    console.say(f"weights: {weights}", REMARK)
    return 0


def _processes(device: str) -> int:
    """That simulate at a time on the CPU or on each GPU, where two fill each other's gaps; a cluster has its own."""
    from fieldlevel.crews import current_crew
    from fieldlevel.numerics.device import select_device

    if current_crew() is not None:
        return 1
    return 2 if select_device(device).type == "cuda" else _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _demo(command: Demo) -> int:
    from fieldlevel import console
    from fieldlevel.demo import run_demo

    place = _place_of_plot(command.out)
    with console.progress_display() as listener:
        found = run_demo(place, command.device, listener)
    console.print_demo(found)
    console.say(f"figure: {command.out}")
    return 0


_RUN: dict[type, Callable[[Any], int]] = {
    Demo: _demo,
    Letter: _letter,
    Robustness: _robustness,
    Simulate: _simulate,
    Project: _project,
    Check: _check,
    Train: _train,
    Tune: _tune,
    Evaluate: _evaluate,
    Infer: _infer,
    Trust: _trust,
    Calibrate: _calibrate,
    Shrink: _shrink,
    Import: _import,
}


def entry_point() -> NoReturn:
    """Run the command of this process's arguments and end the process."""
    interrupts.leave(main())
