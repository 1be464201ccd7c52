"""Records in JSON: read without trust, written complete or not at all."""

import json
from pathlib import Path
from typing import Any

from fieldlevel.errors import UserError, reason, shown
from fieldlevel.files import read_text, write_text


def read_json(path: Path, remedy: str = "take it away") -> Any:
    """Read a record.

    Args:
        path: the file.
        remedy: what to do where it cannot be used.

    Returns:
        What it holds, in plain types.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    return parse_json(read_text(path, remedy), str(path), remedy)


def read_json_object(path: Path, remedy: str = "take it away") -> dict[str, Any]:
    """Read a record that must be an object, `{...}`; arguments and errors as those of `read_json`."""
    record = read_json(path, remedy)
    if not isinstance(record, dict):
        raise UserError(f"{path}: holds {type(record).__name__}, not an object of JSON; {remedy}")
    return record


def parse_json(text: str, source: str, remedy: str = "take it away") -> Any:
    """Parse JSON of somebody else's.

    Args:
        text: to parse.
        source: where it comes from.
        remedy: what to do where it cannot be used.

    Raises:
        UserError: it is not JSON, has a key twice, or is nested deeper than any record is.

    Example:
        >>> parse_json("[" * 100_000, "plan.json")
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: plan.json: not JSON (nested too deep); take it away
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError:
        told = "nested too deep"
    except ValueError as error:
        told = reason(error)
    raise UserError(f"{source}: not JSON ({told}); {remedy}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{shown(next(key for key in keys if keys.count(key) > 1))} twice in an object")
    return record


def write_json(path: Path, record: Any) -> None:
    """Write a record aside and rename it."""
    write_text(path, json.dumps(record, indent=2) + "\n")


def holds_keys(path: Path, *keys: str) -> bool:
    """Whether a file is an object of JSON with these keys, so that it may be taken for one of ours."""
    try:
        record = read_json(path)
    except UserError:
        return False
    return isinstance(record, dict) and record.keys() >= set(keys)


def holds_json(path: Path) -> bool:
    """Whether a file is JSON of any kind."""
    try:
        read_json(path)
    except UserError:
        return False
    return True
