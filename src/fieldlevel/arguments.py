"""Arguments of the command line become a command; a spec comes from a preset, then a file, then flags."""

import argparse
import inspect
import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, Union

import tyro

from fieldlevel import __version__, streams, usage
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
from fieldlevel.errors import UserError
from fieldlevel.option_rules import FIRST_SETTINGS, count_settings, is_brief, rules
from fieldlevel.overview import HELP, HELP_ALL, overview
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import Spec, overlay_file
from fieldlevel.study.robustness.robustness_scales import robustness_scale
from fieldlevel.study.scales import SCALES, SIMULATION_SCALES
from fieldlevel.training.presets import TRAIN_PRESETS
from fieldlevel.training.source_rules import with_suites

_SET_NAME = re.compile(r"^(--(?:[^=\s]*\.)?)set[-_]name(?==|$)")


def parse(arguments: Sequence[str]) -> Command:
    """Turn arguments into a command; usage errors are told in a line and exit with code 2.

    Raises:
        UserError: the file of settings cannot be used.

    Example:
        >>> parse(["train", "--data", "cmd", "--preset", "released", "--network.hidden", "12"]).spec.optimiser.schedule
        'triangular'
    """
    given = _with_one_name_of_the_set(arguments)
    command = _read(given, _defaults(given))
    if isinstance(command, Train):
        return _with_sources(command)
    if isinstance(command, Letter | Robustness):
        return _with_set(command)
    return _with_one_suite(command, given) if isinstance(command, Simulate) else command


def _with_one_name_of_the_set(arguments: Sequence[str]) -> list[str]:
    """Arguments in which the set is `--set` where it has its name in Python and in files, `--set-name`."""
    return [_SET_NAME.sub(r"\1set", word) for word in arguments]


def _defaults(arguments: Sequence[str]) -> tuple[Command, ...]:
    """Every command with the defaults of its options, which follow from presets and a file."""
    chosen = _chosen_presets(arguments)
    simulate = SIMULATION_SCALES[chosen.scale]()
    if chosen.set != simulate.set_name:
        simulate = replace(simulate, n_simulations=None)
    name, config = (arguments[0] if arguments else ""), chosen.config

    def settled(command: str, spec: Spec) -> Spec:
        return overlay_file(spec, config) if config is not None and name == command else spec

    train = TRAIN_PRESETS[chosen.preset]()
    return (
        Demo(),
        Infer(tyro.MISSING, tyro.MISSING),
        Letter(spec=settled("letter", SCALES[chosen.scale]())),
        Robustness(spec=settled("robustness", robustness_scale(chosen.scale))),
        Simulate(spec=settled("simulate", simulate)),
        Project(tyro.MISSING, tyro.MISSING),
        Check(tyro.MISSING),
        Train(tyro.MISSING, spec=settled("train", train)),
        Tune(tyro.MISSING, spec=settled("tune", TuneSpec(train=train))),
        Evaluate(tyro.MISSING, tyro.MISSING),
        Trust(tyro.MISSING, tyro.MISSING),
        Calibrate(tyro.MISSING, tyro.MISSING),
        Shrink(tyro.MISSING, tyro.MISSING),
        Import(tyro.MISSING, tyro.MISSING),
    )


def _with_set(command: Letter | Robustness) -> Letter | Robustness:
    """The command with `--set X` as what it is short for: the set of the networks, and of what is simulated."""
    if command.set_name is None:
        return command
    train = replace(command.spec.train, set_name=command.set_name)
    simulate = command.spec.simulate
    if command.data is None:
        simulate = replace(simulate, set_name=command.set_name)
    return replace(command, set_name=None, spec=replace(command.spec, train=train, simulate=simulate))  # type: ignore[arg-type]


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


def _read(arguments: list[str], defaults: Sequence[Command]) -> Command:
    """Have tyro read the arguments; `--help`, `--help-all`, `--version` and none at all print and exit with code 0."""
    kinds = {name_of(type(default)): default for default in defaults}
    if not arguments or arguments[0] in HELP:
        _print_and_exit(overview({name: str(type(default).__doc__) for name, default in kinds.items()}))
    if arguments[0] == "--version":
        _print_and_exit(f"fieldlevel {__version__}")
    is_help, is_whole = any(word in HELP for word in arguments), HELP_ALL in arguments
    shown = None if is_whole or arguments[0] not in kinds else FIRST_SETTINGS.get(type(kinds[arguments[0]]))
    union: Any = Union[tuple(_subcommand(default, with_note=shown is not None) for default in defaults)]  # noqa: UP007
    caught = io.StringIO()
    try:
        with redirect_stderr(caught), rules(shown, for_reading=is_help):
            command: Command = tyro.cli(
                union,
                args=["--help" if word == HELP_ALL else word for word in arguments],
                prog="fieldlevel",
            )
    except SystemExit as stop:
        if stop.code:
            streams.say_error(usage.in_a_line(caught.getvalue(), arguments, list(kinds)))
        raise
    return command


def _print_and_exit(text: str) -> NoReturn:
    sys.stdout.write(f"{text}\n")
    sys.exit(0)


def name_of(kind: type) -> str:
    """What a command is called."""
    return kind.__name__.lower()


def _subcommand(default: Command, *, with_note: bool) -> Any:
    kind = type(default)
    told = inspect.cleandoc(str(kind.__doc__))
    if with_note and is_brief(kind):
        told += f"\n\nThe settings that people change first; {HELP_ALL} shows all {count_settings(kind)}."
    return Annotated[kind, tyro.conf.subcommand(name_of(kind), default=default, description=told, prefix_name=False)]


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
