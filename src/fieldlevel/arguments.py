"""Arguments of the command line become a command; a spec comes from a preset, then a file, then flags."""

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Union, get_args

import tyro

from fieldlevel import __version__, streams, usage
from fieldlevel.commands import (
    Calibrate,
    Check,
    Command,
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
from fieldlevel.errors import UserError
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import overlay_file
from fieldlevel.study.robustness.robustness_scales import robustness_scale
from fieldlevel.study.scales import SCALES, SIMULATION_SCALES
from fieldlevel.training.presets import TRAIN_PRESETS
from fieldlevel.training.source_rules import with_suites


def parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command; usage errors are told in a line and exit with code 2.

    Raises:
        UserError: the TOML file cannot be used.

    Example:
        >>> parse(["train", "--data", "cmd", "--preset", "released", "--network.hidden", "12"]).spec.optimiser.schedule
        'triangular'
    """
    chosen = _chosen_presets(arguments)
    letter = SCALES[chosen.scale]()
    robustness = robustness_scale(chosen.scale)
    train = TRAIN_PRESETS[chosen.preset]()
    simulate = SIMULATION_SCALES[chosen.scale]()
    if chosen.set != simulate.set_name:
        simulate = replace(simulate, n_simulations=None)
    if chosen.config is not None and arguments[0] == "letter":
        letter = overlay_file(letter, chosen.config)
    if chosen.config is not None and arguments[0] == "robustness":
        robustness = overlay_file(robustness, chosen.config)
    if chosen.config is not None and arguments[0] == "train":
        train = overlay_file(train, chosen.config)
    tune = TuneSpec(train=train)
    if chosen.config is not None and arguments[0] == "tune":
        tune = overlay_file(tune, chosen.config)
    defaults: tuple[Command, ...] = (
        Letter(spec=letter),
        Robustness(spec=robustness),
        Simulate(spec=simulate),
        Project(tyro.MISSING, tyro.MISSING),
        Check(tyro.MISSING),
        Train(tyro.MISSING, spec=train),
        Tune(tyro.MISSING, spec=tune),
        Evaluate(tyro.MISSING, tyro.MISSING, tyro.MISSING),
        Infer(tyro.MISSING, tyro.MISSING),
        Trust(tyro.MISSING, tyro.MISSING),
        Calibrate(tyro.MISSING, tyro.MISSING),
        Shrink(tyro.MISSING, tyro.MISSING),
        Import(tyro.MISSING, tyro.MISSING),
    )
    command = _read(list(arguments), Union[tuple(_subcommand(default) for default in defaults)])  # noqa: UP007
    if isinstance(command, Train):
        return _with_sources(command)
    return _with_one_suite(command, arguments) if isinstance(command, Simulate) else command


def _with_sources(command: Train) -> Train:
    """The command with `--suites` and `--align-with` as what they are short for, `sources`."""
    if command.align_with is None and command.align_part != Train.align_part:
        raise UserError("--align-part: would have no effect without --align-with; leave it out")
    if not command.suites and command.align_with is None:
        return command
    spec = with_suites(command.spec, command.suites, command.align_with, command.align_part)
    return replace(command, suites=(), align_with=None, spec=spec)


def _with_one_suite(command: Simulate, arguments: Sequence[str]) -> Simulate:
    """The command with `--suite X` as what it is short for, `--suites X`."""
    if command.suite is None:
        return command
    if any(word.partition("=")[0] == "--suites" for word in arguments):
        raise UserError("--suite and --suites: give one of them, e.g. --suites MockTNG MockSIMBA")
    return replace(command, suite=None, spec=replace(command.spec, suites=(command.suite,)))


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
            streams.say_error(
                usage.in_a_line(caught.getvalue(), arguments, [name_of(kind) for kind in get_args(Command)])
            )
        raise
    return command


def name_of(kind: type) -> str:
    """What a command is called."""
    return kind.__name__.lower()


def _subcommand(default: Command) -> Any:
    kind = type(default)
    return Annotated[
        kind, tyro.conf.subcommand(name_of(kind), default=default, description=kind.__doc__, prefix_name=False)
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
    chosen.scale = chosen.scale if chosen.scale in SCALES else usual
    chosen.preset = chosen.preset if chosen.preset in TRAIN_PRESETS else "modern"
    return chosen
