"""Frozen specs: every piece of work is described by one, stored as JSON and known by its digest.

A spec is a standard-library dataclass with real defaults. pydantic reads and writes it strictly: an unknown key or a
wrong type is an error that names its path. Precedence on the command line is preset < TOML file < flag.
"""

import dataclasses
import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fieldlevel.errors import UserError, shown
from fieldlevel.files import read_text
from fieldlevel.spellings import name_meant

Spec = TypeVar("Spec")

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

SPEC_FILES = ("spec.json", "metrics.json", "summary.json", "provenance.json")
"""Where a folder tells the spec of what is in it: of a training or search, a letter, a robustness study, maps."""


def to_json(spec: Any) -> str:
    """Dump a spec to canonical JSON: sorted keys, floats as such, so that equal specs give equal text.

    Raises:
        UserError: not a spec, or with a value that JSON has no type for; else as in `from_json`.

    Example:
        >>> from fieldlevel.data.transform_spec import TransformSpec
        >>> to_json(TransformSpec("smoothing", 1)) == to_json(TransformSpec("smoothing", 1.0))
        True
    """
    if not _is_spec(spec):
        raise UserError(f"spec: of type {type(spec).__name__}; give one of fieldlevel's specs")
    read_back = from_json(type(spec), json.dumps(_plain(asdict(spec), "spec")))
    return json.dumps(_without_omitted(read_back), sort_keys=True, indent=2)


def _without_omitted(spec: Any) -> dict[str, Any]:
    """Fields of a spec, those left out that its class names in `__omitted__` and that have their default.

    What a later version adds to a spec so leaves the text of those of before, and their digests, as they were.
    """
    usual, left_out = type(spec)(), getattr(type(spec), "__omitted__", ())
    given = {each.name: getattr(spec, each.name) for each in dataclasses.fields(spec)}
    kept = {name: value for name, value in given.items() if name not in left_out or value != getattr(usual, name)}
    return {name: _without_omitted(value) if _is_spec(value) else _as_plain(value) for name, value in kept.items()}


def _is_spec(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _as_plain(value: Any) -> Any:
    return [_without_omitted(each) if _is_spec(each) else each for each in value] if isinstance(value, tuple) else value


def in_plain_types(kind: type[Spec], spec: Spec) -> Spec:
    """The spec with Python's own numbers and text in the place of NumPy's and of paths.

    Raises:
        UserError: a spec of another kind; else as in `to_json`.

    Example:
        >>> import numpy as np
        >>> from fieldlevel.estimators.network_specs import NetworkSpec
        >>> in_plain_types(NetworkSpec, NetworkSpec(hidden=np.int64(4)))
        NetworkSpec(hidden=4, dropout=0.2, std_from='square')
    """
    if not isinstance(spec, kind):
        raise UserError(f"spec: of type {type(spec).__name__}; give a {kind.__name__}")
    return from_json(kind, to_json(spec))


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each, str(key) if path == "spec" else f"{path}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, path) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # of NumPy or PyTorch
        return value.tolist()
    if isinstance(value, str) and not value.isascii():
        _check_text(value, path)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"{path}: of type {type(value).__name__}; give numbers or text")


def _check_text(value: str, path: str) -> None:
    """Refuse bytes of no encoding, as names of files may hold them: no JSON does."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: {value!r} holds characters that are none; give other text") from None


def read_spec(kind: type[Spec], path: Path) -> Spec:
    """Load a spec from a file of JSON.

    Raises:
        UserError: no such file or not one of text; else as in `from_json`.
    """
    remedy = "it is damaged or foreign, take it away"
    text = read_text(path, remedy)
    try:
        return from_json(kind, text, str(path))
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None


def from_json(kind: type[Spec], text: str, source: str = "spec") -> Spec:
    """Load a spec strictly from JSON.

    Args:
        kind: the spec dataclass.
        text: JSON text.
        source: where the text comes from, for the error message.

    Raises:
        UserError: unknown key, missing file or wrong type, with the path of the field.

    Example:
        >>> from fieldlevel.estimators.network_specs import NetworkSpec
        >>> from_json(NetworkSpec, '{"hiden": 7}')
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: spec: hiden: unexpected keyword argument; allowed: hidden, dropout, std_from
    """
    from pydantic import ValidationError  # noqa: PLC0415 (keeps `--help` fast)

    try:
        return _adapter(kind).validate_json(text)  # type: ignore[no-any-return, arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(shown(part) for part in first["loc"]) or "text"
        raise UserError(f"{source}: {path}: {_explain(kind, first)}") from None
    except UserError as error:  # of the spec's own
        raise UserError(f"{source}: {error}") from None


@cache
def _adapter(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 (keeps `--help` fast)

    return TypeAdapter(kind)


def _explain(kind: type[Any], first: Mapping[str, Any]) -> str:
    message = str(first["msg"])
    message = message[0].lower() + message[1:]
    if first["type"] != "unexpected_keyword_argument":
        return message
    return f"{message}; allowed: {', '.join(_names_beside(kind, first['loc']))}"


def _names_beside(kind: type[Any], path: tuple[str | int, ...]) -> list[str]:
    for part in path[:-1]:
        kind = get_args(kind)[0] if isinstance(part, int) else get_type_hints(kind)[part]
    return [f.name for f in dataclasses.fields(kind)]


def overlay_file(spec: Spec, path: Path) -> Spec:
    """Override fields of a spec with those named in a file; every other field keeps its value.

    Args:
        spec: the preset to start from.
        path: TOML, or JSON as `spec.json` of a run has it, or the folder of a run (`settings_file`). The spec of a
            network may stand for that in a search or a letter, and what holds such a part for the part.

    Raises:
        UserError: not such a file, unknown key, wrong type.
    """
    path = settings_file(path)
    text = read_text(path, "give a file of TOML, or the spec.json of a run, with --config")
    if not (is_json(text) or path.suffix == ".json"):
        return overlay_toml(spec, path)
    values = _parsed(partial(json.loads, object_pairs_hook=_each_once), text.lstrip("\ufeff"), f"{path}: not JSON")
    if not isinstance(values, dict):
        raise UserError(f"{path}: not an object of JSON; give the spec.json of a run with --config")
    placed = _placed(spec, values, path)
    base: Spec = _beneath(spec, placed)
    return _overlay(base, placed, path)


def _beneath(spec: Any, values: Mapping[str, Any]) -> Any:
    """The spec that settings override: of a whole spec the usual one, as that leaves out what has its default."""
    left_out = getattr(type(spec), "__omitted__", ())
    is_whole = values.keys() >= {each.name for each in dataclasses.fields(spec)} - {*left_out}
    base = type(spec)() if is_whole else spec
    parts = {name: part for name in values if _is_spec(part := getattr(base, name, None)) and _is_table(values[name])}
    return dataclasses.replace(base, **{name: _beneath(part, values[name]) for name, part in parts.items()})


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def settings_file(path: Path) -> Path:
    """The file that has the settings: of a folder, the first of `SPEC_FILES` in it.

    Raises:
        UserError: a folder that has none of them.
    """
    if not path.is_dir():
        return path
    found = next((path / name for name in SPEC_FILES if (path / name).is_file()), None)
    if found is None:
        known = f"{', '.join(SPEC_FILES[:-1])} or {SPEC_FILES[-1]}"
        raise UserError(f"{path}: a folder without {known}; give the folder of a run, or a file, with --config")
    return found


def is_json(text: str) -> bool:
    """Whether settings are JSON: no TOML begins with a brace."""
    return text.lstrip("\ufeff \t\r\n").startswith("{")


def overlay_toml(spec: Spec, path: Path) -> Spec:
    """Override fields of a spec with those named in a TOML file; every other field keeps its value.

    Args:
        spec: the preset to start from.
        path: TOML file; tables are nested specs. A field whose flag has another name may have that name here too.

    Raises:
        UserError: file missing or not TOML, unknown key, wrong type.
    """
    text = read_text(path, "give a TOML file with --config")
    return _overlay(spec, _parsed(tomllib.loads, text.removeprefix("\ufeff"), f"{path}: not TOML"), path)


def _parsed(parse: Callable[[str], Any], text: str, trouble: str) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise UserError(f"{trouble}: nested too deep") from None
    except ValueError as error:  # also of numbers with thousands of digits
        raise UserError(f"{trouble}: {' '.join(str(error).partition(';')[0].split())}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _overlay(spec: Spec, values: dict[str, Any], path: Path) -> Spec:
    named = _with_field_names(type(spec), values, str(path))
    try:
        text = json.dumps(_plain(_merge(asdict(spec), named), "spec"))  # type: ignore[call-overload]
    except RecursionError:
        raise UserError(f"{path}: nested too deep") from None
    except ValueError:  # of whole numbers of thousands of digits
        raise UserError(f"{path}: holds a number that is too long") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return from_json(type(spec), text, source=str(path))


def _placed(spec: Any, values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Settings as those of a part of the spec, where its class says that they may be, by a method `place`."""
    place = getattr(type(spec), "place", None)
    told = values.get("spec")
    own = told if isinstance(told, dict) else values  # a finished letter has its spec among its results
    try:
        placed: dict[str, Any] = own if place is None else place(own)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return placed


def _with_field_names(kind: type[Any], values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings by the names of their fields where they have those of their flags, as `set` of `set_name`."""
    hints = get_type_hints(kind, include_extras=True)
    by_flag = {
        argument.name.replace("-", "_"): name
        for name, hint in hints.items()
        for argument in getattr(hint, "__metadata__", ())
        if getattr(argument, "name", None)
    }
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = key if key in hints else by_flag.get(key.replace("-", "_"), key)
        if name in named:
            raise UserError(f"{source}: {shown(key)}: the same as {name}, which is there too; give it once")
        named[name] = _with_names_inside(get_type_hints(kind).get(name), value, source)
    return named


def _with_names_inside(kind: Any, value: Any, source: str) -> Any:
    """Settings of a nested spec, or of each of several; a choice by its name where it is spelled without spaces."""
    if get_origin(kind) is Literal and isinstance(value, str):
        return name_meant(value, map(str, get_args(kind))) or value
    if isinstance(value, Mapping) and dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _with_field_names(kind, value, source)
    several = get_args(kind)[:1]
    if isinstance(value, list) and several:
        return [_with_names_inside(several[0], each, source) for each in value]
    return value


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def digest(spec: Any, *facts: str) -> str:
    """Twelve hexadecimal digits that identify a spec and the facts it was used with, such as the data's fingerprint.

    Example:
        >>> from fieldlevel.data.split import SplitSpec
        >>> digest(SplitSpec()) == digest(SplitSpec(seed=1)) != digest(SplitSpec(seed=2))
        True
    """
    text = "\n".join([type(spec).__name__, to_json(spec), *facts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def first_difference(there: Any, here: Any) -> str:
    """The first setting in which two specs of one kind differ, in words.

    Example:
        >>> from fieldlevel.data.split import SplitSpec
        >>> first_difference(SplitSpec(), SplitSpec(train=0.8))
        'train: 0.9 there, 0.8 here'
    """
    for name in (each.name for each in dataclasses.fields(there)):
        one, other = getattr(there, name), getattr(here, name)
        if one != other and type(one) is type(other) and dataclasses.is_dataclass(one):
            return f"{name}.{first_difference(one, other)}"
        if one != other:
            return f"{name}: {shown(one)} there, {shown(other)} here"
    return ""


def refuse_values(spec: Any, allowed: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the first field of a spec whose value is not allowed.

    Args:
        spec: any spec.
        allowed: by field, whether its value is allowed, and in words what is.

    Raises:
        UserError: with the field, its value and what is allowed.
    """
    for name, (is_allowed, words) in allowed.items():
        if not is_allowed:
            raise UserError(f"{name} = {getattr(spec, name)}: allowed are {words}")
