"""The command line: parses arguments, calls the library, turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage or data, 130 interrupted, 143 terminated; they do not depend on whether
anybody reads what is printed. A spec comes from a preset, then a TOML file, then flags; one flag changes one field.
Modules that need PyTorch are imported by the command that runs them, so `--help` answers at once.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union

import tyro

from fieldlevel import __version__, interrupts, streams, trouble, usage
from fieldlevel.errors import TrainingError, UserError
from fieldlevel.files import read_text
from fieldlevel.locks import claimed
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import Spec, is_json, overlay_file
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import SCALES, SIMULATION_SCALES, laptop_scale
from fieldlevel.training import torchrun
from fieldlevel.training.presets import TRAIN_PRESETS
from fieldlevel.training.train_spec import TrainSpec

Flat = tyro.conf.arg(name="")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:N}")]
Scale = Literal["laptop", "letter"]
SimulationScale = Literal["laptop", "letter", "fine"]


@dataclass(frozen=True)
class Letter:
    """Data, networks, every test of the letter, figures, report; run it again to continue or to see the result."""

    data: Path | None = None
    """Folder of CMD files; without it mock suites are simulated first."""
    out: Path = Path("letter-output")
    """Where everything goes: report.html, report.md, figures, metrics.json, predictions.csv, runs."""
    scale: Scale | None = None
    """laptop: two CPU cores, some half an hour; letter: the letter's sizes and split, GPUs. When omitted: letter
    with --data, laptop without."""
    config: Path | None = None
    """TOML file, or spec.json of a run, that overrides the scale's spec; flags override the file."""
    device: Device = "auto"
    spec: Annotated[LetterSpec, Flat] = field(default_factory=LetterSpec)


@dataclass(frozen=True)
class Simulate:
    """Simulate a mock suite and its gravity-only twin as CMD files; run it again to continue."""

    out: Path = Path("mock-data")
    """Folder for the files; several shards may work in it at once."""
    scale: SimulationScale = "laptop"
    """Preset of the spec below, by accuracy (docs/simulator.md). laptop: 64^2 maps of 64^3 particles, time steps right
    to 20% in P(k), two CPU cores; letter: 256^2 maps of 128^3 particles, steps right to 5% up to k = 10 h/Mpc, GPUs;
    fine: the same of 256^3 particles, force softening 0.05 Mpc/h."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1"
    """Simulate the I-th of N parts only; the files get their names when the last part is done."""
    keep_snapshots: bool = False
    """Also write the particles of every simulation, in the layout of CAMELS, under snapshots/ of --out."""
    workers: int | None = None
    """Processes on the CPU, or on each GPU for 100 simulations and more; when omitted all cores, or two on a GPU. On
    the CPU the maps do not depend on it."""
    device: Device = "auto"
    """auto and cuda take all GPUs, cuda:N that one."""
    spec: Annotated[SimulateSpec, Flat] = field(default_factory=SimulateSpec)


@dataclass(frozen=True)
class Project:
    """Turn snapshots into CMD maps, a simulation each in their order; run it again to continue."""

    snapshots: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SNAPSHOT ...", help_behavior_hint="(required)")
    ]
    """GADGET, AREPO, GIZMO or SWIFT HDF5 files, one of several files, or folders of them."""
    out: Path
    """Folder for the files."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1"
    """Project the I-th of N parts only; the files get their names when the last part is done."""
    workers: int = 1
    """Processes on the CPU; each holds a snapshot in memory. The maps do not depend on it."""
    device: Device = "cpu"
    spec: Annotated[ProjectSpec, Flat] = field(default_factory=ProjectSpec)


@dataclass(frozen=True)
class Check:
    """Is this data folder sound? Lists every defect, and remarks; exit code 2 if there is a defect."""

    directory: Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class Train:
    """Train one network on the training simulations of a suite; run it again to continue.

    `torchrun --nproc-per-node 2 -m fieldlevel train ...` trains it on two GPUs, the same network.
    """

    data: Path
    """Folder of CMD files."""
    out: Path = Path("network")
    """Folder for weights.safetensors, history.csv and spec.json."""
    preset: Literal["released", "modern"] = "modern"
    """released: the benchmark recipe of the CAMELS Multifield Dataset; modern: the faster one."""
    config: Path | None = None
    """TOML file, or spec.json of a run, that overrides the preset; flags override the file."""
    device: Device = "auto"
    spec: Annotated[TrainSpec, Flat] = field(default_factory=TrainSpec)


@dataclass(frozen=True)
class Tune:
    """Search for the hyper-parameters of a network and keep the best ones; run it again, or beside itself, to go on."""

    data: Path
    """Folder of CMD files."""
    out: Path = Path("search")
    """Folder for trials.csv, importance.json and the weights of the best trials; several processes may share it."""
    preset: Literal["released", "modern"] = "modern"
    """Of everything that is not searched. released: the benchmark recipe of the CAMELS Multifield Dataset; modern: the
    faster one."""
    config: Path | None = None
    """TOML file that overrides the preset, which is its table [train], or spec.json of a run; flags override it."""
    begin_with: Path | None = None
    """Optuna database of the released CMD scripts (SQLite): the search begins with its five best trials."""
    device: Device = "auto"
    spec: Annotated[TuneSpec, Flat] = field(default_factory=TuneSpec)


@dataclass(frozen=True)
class Evaluate:
    """Test a network on the simulations of a suite that it has never seen."""

    weights: Annotated[Path, tyro.conf.Positional]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    data: Path
    """Folder of CMD files."""
    suite: str
    """Suite to test on."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    simulations: Literal["test", "all"] = "test"
    """test: the test simulations of the network's split; all: every one, refused where the network has seen some."""
    out: Path = Path("evaluation")
    """Folder for predictions.csv and metrics.json."""
    anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also test on maps that seem to be in another unit than those of the training."""
    device: Device = "auto"


@dataclass(frozen=True)
class Infer:
    """Posterior mean and standard deviation of the six parameters for each map of an .npy file."""

    weights: Annotated[Path, tyro.conf.Positional]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    maps: Annotated[Path, tyro.conf.Positional]
    """(n, N, N) surface densities in (Msun/h)/(Mpc/h)^2, as in CMD files, or one map, (N, N)."""
    out: Path | None = None
    """CSV file, replaced if it is there; <maps>.posterior.csv when omitted."""
    anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also answer for maps that seem to be in another unit than those of the training."""
    device: Device = "auto"


@dataclass(frozen=True)
class Shrink:
    """Store a network in half the space: weights in float16, everything else as it was."""

    weights: Annotated[Path, tyro.conf.Positional]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    out: Annotated[Path, tyro.conf.Positional]
    """The file to write; every command takes it in the place of the larger one."""


@dataclass(frozen=True)
class Import:
    """Turn a network of the released CMD scripts into a weights file, which every command takes."""

    weights: Annotated[Path, tyro.conf.Positional]
    """weights_<suite>_<field>_<trial>_all_steps_500_500_o3.pt, ..._smoothing_<pixels>.pt, or another name."""
    out: Path
    """The weights file to write, NAME.safetensors."""
    suite: str | None = None
    """That it was trained on, e.g. IllustrisTNG; from the name when omitted."""
    field: str | None = None
    """Of its maps, e.g. Mtot; from the name when omitted."""
    mean: float | None = None
    """Of log10(map) over all maps of the suite, as the released scripts have it."""
    std: float | None = None
    """Standard deviation of the same."""
    maps: Path | None = None
    """Map file of the suite to measure both on; when all three are omitted the known ones of IllustrisTNG's Mtot."""
    smoothing: float | None = None
    """Of the maps, in pixels; from the name when omitted."""


Command = Letter | Simulate | Project | Check | Train | Tune | Evaluate | Infer | Shrink | Import


def parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command; usage errors are told in a line and exit with code 2.

    Raises:
        UserError: the TOML file cannot be used.

    Example:
        >>> parse(["train", "--data", "cmd", "--preset", "released", "--network.hidden", "12"]).spec.optimiser.schedule
        'triangular'
    """
    chosen = _chosen_presets(arguments)
    letter = SCALES.get(chosen.scale, laptop_scale)()
    train = TRAIN_PRESETS[chosen.preset]()
    simulate = SIMULATION_SCALES[chosen.scale]()
    if chosen.set != simulate.set_name:
        simulate = replace(simulate, n_simulations=None)
    if chosen.config is not None and arguments[0] == "letter":
        letter = overlay_file(letter, chosen.config)
    if chosen.config is not None and arguments[0] == "train":
        train = overlay_file(train, chosen.config)
    tune = TuneSpec(train=train)
    if chosen.config is not None and arguments[0] == "tune":
        tune = overlay_file(tune, chosen.config)
    defaults: tuple[Command, ...] = (
        Letter(spec=letter),
        Simulate(spec=simulate),
        Project(tyro.MISSING, tyro.MISSING),
        Check(tyro.MISSING),
        Train(tyro.MISSING, spec=train),
        Tune(tyro.MISSING, spec=tune),
        Evaluate(tyro.MISSING, tyro.MISSING, tyro.MISSING),
        Infer(tyro.MISSING, tyro.MISSING),
        Shrink(tyro.MISSING, tyro.MISSING),
        Import(tyro.MISSING, tyro.MISSING),
    )
    return _read(list(arguments), Union[tuple(_subcommand(default) for default in defaults)])  # noqa: UP007


def _read(arguments: list[str], union: Any) -> Command:
    """Have tyro read the arguments; `--help` and `--version` print and exit with code 0."""
    if "--version" in arguments[:1]:
        sys.stdout.write(f"fieldlevel {__version__}\n")
        sys.exit(0)
    caught = io.StringIO()
    try:
        with redirect_stderr(caught):
            command: Command = tyro.cli(
                union,
                args=arguments,
                prog="fieldlevel",
                description="Cosmological inference from maps at the field level, marginalised over baryonic physics.",
            )
    except SystemExit as stop:
        if stop.code:
            streams.say_error(usage.in_a_line(caught.getvalue(), arguments, [_name(kind) for kind in _RUN]))
        raise
    return command


def _name(kind: type) -> str:
    return kind.__name__.lower()


def _subcommand(default: Command) -> Any:
    kind = type(default)
    return Annotated[
        kind, tyro.conf.subcommand(_name(kind), default=default, description=kind.__doc__, prefix_name=False)
    ]


def _chosen_presets(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that decide the defaults of all others; tyro judges their values afterwards."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--scale")
    parser.add_argument("--data")
    parser.add_argument("--preset", default="modern")
    parser.add_argument("--set", default="LH")
    parser.add_argument("--config", type=Path)
    try:
        chosen, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        chosen = parser.parse_args([])
    usual = "laptop" if chosen.data is None else "letter"
    chosen.scale = chosen.scale if chosen.scale in SIMULATION_SCALES else usual
    chosen.preset = chosen.preset if chosen.preset in TRAIN_PRESETS else "modern"
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process when omitted.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad usage or data, 130 interrupted, 143 terminated.
    """
    from fieldlevel import console

    streams.prepare()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with interrupts.raised(), streams.brief_warnings(), streams.flushed():
            command = parse(given)
            _check_launch(command)
            return _RUN[type(command)](command)
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
        told = trouble.of_memory(error)
        if told is None:
            raise
        console.error(told)
        return 1


def _check_launch(command: Command) -> None:
    """Refuse to do the same work in every process of torchrun, and to train in processes that cannot meet."""
    if isinstance(command, Train):
        torchrun.check()
    elif torchrun.n_processes() > 1:
        raise UserError(f"torchrun: only `train` shares its work; start {_name(type(command))} without it")


def _letter(command: Letter) -> int:
    from fieldlevel import console, report
    from fieldlevel.study import plan as letter
    from fieldlevel.study.runner import prepare_data, run_letter

    letter.refuse_unused(command.spec, _usual(_scale_of(command), command.config), command.data)
    with claimed(command.out, report.OURS), console.progress_display() as listener:
        data = prepare_data(
            command.spec, command.data, command.out, command.device, _processes(command.device), listener
        )
        document = report.read_finished(command.out, data.key)
        if document is None:
            run = run_letter(command.spec, data, command.out, command.device, listener, console.print_pairs, _cores())
            document = report.write_letter(command.out, run)
    console.print_letter(document, command.out)
    return 0


def _scale_of(command: Letter) -> LetterSpec:
    return SCALES[command.scale or ("laptop" if command.data is None else "letter")]()


def _usual(preset: Spec, config: Path | None) -> Spec:
    """What nobody gave as a setting of this command: that of the preset, or of another run's spec."""
    if config is None or not is_json(read_text(config)):
        return preset
    return overlay_file(preset, config)


def _simulate(command: Simulate) -> int:
    from fieldlevel import console
    from fieldlevel.mapmaking.ledger import Ledger
    from fieldlevel.mapmaking.shards import Shard
    from fieldlevel.simulate.mock_suite import plan_suite, simulate_suite

    spec, shard = command.spec, Shard.parse(command.shard)
    with console.progress_display() as listener:
        simulate_suite(
            spec,
            command.out,
            command.device,
            _processes(command.device) if command.workers is None else command.workers,
            listener,
            shard,
            keep_snapshots=command.keep_snapshots,
        )
    if missing := Ledger(plan_suite(spec), command.out).missing():
        console.say(f"shard {shard} is done; {len(missing)} simulations of other shards are missing in {command.out}")
    else:
        console.say(f"{spec.suite} and its gravity-only twin are in {command.out}")
    return 0


def _project(command: Project) -> int:
    from fieldlevel import console
    from fieldlevel.data.cmd_format import SuiteFiles
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
        console.say(f"maps of {len(command.snapshots)} snapshots are in {command.out}")
        table = SuiteFiles(command.out, spec.suite, set_name=spec.set_name).parameters_path
        if not table.exists():
            lacking = ", ".join(lacking_parameters(command.snapshots, spec))
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
    from fieldlevel.training.distributed import joined, rank
    from fieldlevel.training.settings import refuse_unused
    from fieldlevel.training.trainer import train

    refuse_unused(command.spec, [_usual(TRAIN_PRESETS[command.preset](), command.config)])
    with joined(command.device) as device:
        with claimed(command.out) if rank() == 0 else nullcontext(), console.progress_display() as listener:
            weights = train(command.spec, command.data, command.out, str(device), listener)
        if rank() == 0:
            console.say(f"weights: {weights}")
    return 0


def _tune(command: Tune) -> int:
    from fieldlevel import console
    from fieldlevel.search.search_settings import refuse_unused_in_search
    from fieldlevel.search.trials import read_trials
    from fieldlevel.search.tune import tune

    refuse_unused_in_search(command.spec, _usual(TuneSpec(TRAIN_PRESETS[command.preset]()), command.config))
    with console.progress_display() as listener:
        weights = tune(command.spec, command.data, command.out, command.device, listener, begin_with=command.begin_with)
    console.print_trials(command.spec.train.suite, read_trials(command.out), command.spec.n_kept)
    console.say(*(f"weights: {path}" for path in weights))
    return 0


def _evaluate(command: Evaluate) -> int:
    from fieldlevel import console
    from fieldlevel.data.suite import open_suite
    from fieldlevel.inference.evaluation import predict_suite
    from fieldlevel.inference.evaluation_files import EVALUATION_FILES, write_evaluation
    from fieldlevel.inference.predictor import load

    with claimed(command.out, EVALUATION_FILES):
        predictor = load(command.weights, command.device)
        with console.progress_display() as listener:
            suite = open_suite(command.data, command.suite, predictor.spec.field, command.set_name, listener=listener)
            predictions = predict_suite(predictor, suite, command.simulations, listener, anyway=command.anyway)
        document = write_evaluation(command.out, predictor, suite, predictions, str(command.weights), command.device)
    title = f"{command.weights} on {command.suite} {document['data_mark']}".rstrip()
    console.print_scores(title, document["scores"], command.out)
    console.print_remarks(predictor.remarks)
    console.print_outside(document["outside_prior"]["maps"])
    return 0


def _infer(command: Infer) -> int:
    from fieldlevel import console
    from fieldlevel.inference.map_files import infer_file

    out = command.out or command.maps.parent / f"{command.maps.stem}.posterior.csv"
    with console.progress_display() as listener:
        found = infer_file(command.weights, command.maps, out, command.device, listener, command.anyway)
    mark = " (MOCK DATA: the network was trained on a mock suite)" if found.is_mock else ""
    console.print_posteriors(found.mean, found.std)
    console.print_remarks(found.remarks)
    console.print_seen(found.seen)
    console.print_outside(found.outside)
    console.say(f"posterior of {console.count_maps(len(found.mean))}{mark}: {out}")
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
    """That simulate at a time on the CPU or on each GPU, where two fill each other's gaps."""
    from fieldlevel.numerics.device import select_device

    return 2 if select_device(device).type == "cuda" else _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_RUN: dict[type, Callable[[Any], int]] = {
    Letter: _letter,
    Simulate: _simulate,
    Project: _project,
    Check: _check,
    Train: _train,
    Tune: _tune,
    Evaluate: _evaluate,
    Infer: _infer,
    Shrink: _shrink,
    Import: _import,
}


def entry_point() -> NoReturn:
    """Run the command of this process's arguments and end the process."""
    interrupts.leave(main())
