"""The first help: what commands there are, by what they are for."""

import textwrap
from collections.abc import Mapping

HELP_ALL = "--help-all"
HELP = ("-h", "--help", HELP_ALL)
"""Ways to ask for help."""

_WIDTH = 80
_GROUPS = {
    "see what it does": ("demo", "infer"),
    "whole studies": ("letter", "robustness"),
    "maps": ("simulate", "project", "check"),
    "networks": ("train", "tune", "evaluate", "calibrate", "trust", "shrink", "import"),
}
_TITLE = "Cosmological inference from maps at the field level, marginalised over baryonic physics."
_END = """\
fieldlevel COMMAND --help      the settings that people change first
fieldlevel COMMAND --help-all  all of its settings
fieldlevel --version           the version"""


def overview(commands: Mapping[str, str]) -> str:
    """The first help, in lines of 80 characters.

    Args:
        commands: what each does, by its name; its first paragraph is told.

    Example:
        >>> print(overview({"check": "Is this folder sound?"}).splitlines()[-5])
          check  Is this folder sound?
    """
    known = [name for names in _GROUPS.values() for name in names]
    groups = _GROUPS | {"more": tuple(name for name in commands if name not in known)}
    margin = max(map(len, commands)) + 4
    parts = ["usage: fieldlevel COMMAND ...", textwrap.fill(_TITLE, _WIDTH)]
    for heading, names in groups.items():
        lines = [_line(name, commands[name], margin) for name in names if name in commands]
        parts += ["\n".join([f"{heading}:", *lines])] if lines else []
    return "\n\n".join([*parts, _END])


def _line(name: str, told: str, margin: int) -> str:
    first = " ".join(told.partition("\n\n")[0].split())
    return textwrap.fill(first, _WIDTH, initial_indent=f"  {name}".ljust(margin), subsequent_indent=" " * margin)
