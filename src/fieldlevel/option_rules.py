"""How options are read and shown: names without spaces, help texts of whole paragraphs, first settings first.

`fieldlevel COMMAND --help` shows the settings that people change first (`FIRST_SETTINGS`), `--help-all` every one.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from fieldlevel.commands import Letter, Project, Robustness, Simulate, Train, Tune
from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spellings import name_meant, without_spaces
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

Shown = Mapping[type, tuple[str, ...]]
"""Names of fields by their class; no field of a class that is not there is shown."""

FIRST_SETTINGS: Mapping[type, Shown] = {
    Letter: {
        Letter: ("data", "out", "scale", "config", "device", "set_name", "spec"),
        LetterSpec: ("suites", "seeds", "only", "train"),
        TrainSpec: ("n_steps",),
    },
    Robustness: {
        Robustness: ("data", "out", "scale", "config", "device", "set_name", "spec"),
        RobustnessSpec: ("suites", "methods", "parts", "seeds"),
    },
    Simulate: {
        Simulate: ("out", "scale", "config", "shard", "device", "spec"),
        SimulateSpec: ("suites", "set_name", "n_simulations", "fields", "n_particles"),
    },
    Project: {
        Project: ("snapshots", "out", "shard", "workers", "spec"),
        ProjectSpec: ("suite", "set_name", "fields", "parameters", "n_pixels", "n_slabs"),
    },
    Train: {
        Train: ("data", "out", "config", "suites", "device", "spec"),
        TrainSpec: ("suite", "set_name", "split", "network", "optimiser", "n_steps"),
        SplitSpec: ("train", "calibration"),
        NetworkSpec: ("hidden",),
        OptimiserSpec: ("learning_rate",),
    },
    Tune: {
        Tune: ("data", "out", "config", "device", "spec"),
        TuneSpec: ("train", "n_trials", "search", "n_kept"),
        TrainSpec: ("suite", "set_name", "n_steps"),
    },
}
"""Of the commands that have many more; the others show all that they have."""


def is_brief(kind: type) -> bool:
    """Whether the help of a command shows some of its settings only."""
    return kind in FIRST_SETTINGS


def count_settings(kind: type) -> int:
    """How many options a command has, beside those of parts of which there may be several or none.

    Example:
        >>> from fieldlevel.commands import Shrink
        >>> count_settings(Shrink)
        2
    """
    hints = [each.type for each in dataclasses.fields(kind) if not _is_several(each.type)]
    return sum(count_settings(inner) if (inner := _nested(hint)) else 1 for hint in hints)


def _is_several(hint: Any) -> bool:
    return get_origin(hint) is tuple and _nested(get_args(hint)[0]) is not None


def _nested(hint: Any) -> type | None:
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def rules(shown: Shown | None = None, *, for_reading: bool = False) -> ConstructorRegistry:
    """The rules by which tyro reads options, and shows them.

    Args:
        shown: settings that the help shows; all when None.
        for_reading: whether somebody reads the help now.
    """
    registry = ConstructorRegistry()
    registry.primitive_rule(_choice_of_words)
    if for_reading:
        registry.struct_rule(_ShownFields(shown))
    return registry


def _choice_of_words(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
    """One of several names of which some have spaces: shown and read without them, and read with them too."""
    names = get_args(info.type)
    if get_origin(info.type) is not Literal or not any(" " in str(name) for name in names):
        return None
    spelled = tuple(map(without_spaces, names))
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(spelled)}}}",
        instance_from_str=lambda words: name_meant(words[0], names) or words[0],
        is_instance=lambda value: value in names,
        str_from_instance=lambda name: [without_spaces(name)],
        choices=tuple(dict.fromkeys((*spelled, *names))),
    )


class _ShownFields:
    """Fields of dataclasses as tyro knows them, those hidden that are not to be shown."""

    def __init__(self, shown: Shown | None) -> None:
        self.shown = shown
        self.is_asking = False

    def __call__(self, info: StructTypeInfo) -> StructConstructorSpec | None:
        if self.is_asking or not _is_ours(info.type):
            return None
        self.is_asking = True
        try:
            found = ConstructorRegistry.get_struct_spec(info)
        finally:
            self.is_asking = False
        if not isinstance(found, StructConstructorSpec):
            return None
        names = None if self.shown is None else self.shown.get(info.type, ())
        return dataclasses.replace(found, fields=tuple(_for_reading(each, names) for each in found.fields))


def _is_ours(kind: object) -> bool:
    """Whether a type is a dataclass of this package, and none that tyro makes for itself."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__.startswith("fieldlevel.")


def _for_reading(field: StructFieldSpec, names: tuple[str, ...] | None) -> StructFieldSpec:
    """A field with its help in paragraphs, without what says nothing; hidden where it is not among the names."""
    kind: Any = Annotated[field.type, _argument(field)]
    if names is not None and field.name not in names:
        kind = Annotated[kind, tyro.conf.Suppress]
    return dataclasses.replace(field, type=kind, helptext=_in_paragraphs(field.helptext))


def _argument(field: StructFieldSpec) -> object:
    says_nothing = field.default is None or field.default in ((), "")
    is_in_place = tyro.conf.Positional in getattr(field.type, "__metadata__", ())
    metavar = _metavar(field.type, field.name.upper() if is_in_place else None)
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="" if says_nothing else None)


def _metavar(hint: Any, usual: str | None) -> str | None:
    """What is to be given for a setting that may be left open, or for several at once, where tyro would say more."""
    kind, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if any(getattr(each, "metavar", None) for each in metadata):
        return None
    if get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind):
        return " ".join(_word(each) for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,) and not _is_several(kind):
        return f"{_word(get_args(kind)[0])} ..."
    return usual


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(without_spaces, get_args(kind)))}}}"
    if get_origin(kind) is tuple:
        return " ".join(map(_word, get_args(kind)))
    return str(kind.__name__).upper()


def _in_paragraphs(told: str | Callable[[], str | None] | None) -> Callable[[], str | None]:
    """A help text whose lines are those of the terminal, not those of the source."""

    def wrapped() -> str | None:
        text = told() if callable(told) else told
        return None if text is None else "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))

    return wrapped
