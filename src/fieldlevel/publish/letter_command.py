"""The command that gave a letter, from its spec."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import SCALES


def letter_command(spec: LetterSpec, is_given: bool) -> list[str]:
    """The shortest `fieldlevel` command for a spec: the nearest scale and every flag that differs from it."""
    return min((_from_scale(spec, scale, is_given) for scale in SCALES), key=len)


def _from_scale(spec: LetterSpec, scale: str, is_given: bool) -> list[str]:
    preset, words = dict(_leaves(asdict(SCALES[scale]()))), ["letter", "--scale", scale]
    if is_given:
        words += ["--data", "mock-data"]
    for path, value in _leaves(asdict(spec)):
        if value != preset[path] and not (is_given and path.startswith("simulate.")):
            flag = re.sub(r"set_name$", "set", path).replace("_", "-")
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
