"""Usage errors in a line: what tyro says in a box, with the way to more."""

import difflib
import re
import textwrap
from collections.abc import Sequence

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SIDE = "│|"
_RULE = re.compile(r"[╭╮╰╯│─|+\- ]*")
_INDENT = " " * 4
_N_SUGGESTIONS = 3
_ALONE = ("--help", "--help-all", "--version")
"""Options without a command."""
_LONGEST = 300


def in_a_line(box: str, arguments: Sequence[str], commands: Sequence[str]) -> str:
    """One line for a usage error.

    Args:
        box: what tyro printed: a title, what is wrong, perhaps what was meant, where the help is.
        arguments: what was given.
        commands: those that there are.

    Returns:
        The command, what is wrong, what was perhaps meant and how to see the help.
    """
    parts = _parts(box)
    command = arguments[0] if arguments and arguments[0] in commands else ""
    unknown = _unknown(parts[0])
    told = _told(parts[0], unknown, arguments, command)
    if command:
        meant = _similar_options(parts, unknown, command)
    else:
        meant = difflib.get_close_matches(arguments[0], [*commands, *_ALONE], n=_N_SUGGESTIONS) if arguments else []
    words = [told, f"did you mean {' or '.join(meant)}?" if meant else "", f"see {_program(command)} --help"]
    return (f"{command}: " if command else "") + "; ".join(word for word in words if word).replace("?;", "?")


def _parts(box: str) -> list[list[str]]:
    """Lines of the parts of a box, which rules divide; the title is left out."""
    parts: list[list[str]] = [[]]
    for line in _COLOURS.sub("", box).splitlines()[1:]:
        if _RULE.fullmatch(line):
            parts.append([])
        else:
            parts[-1].append(line.strip().strip(_SIDE).rstrip() if line[:1] in _SIDE else line.rstrip())
    return [textwrap.dedent("\n".join(part)).splitlines() for part in parts if part] or [[]]


def _unknown(lines: Sequence[str]) -> str:
    """The first option, or else argument, that tyro does not know."""
    told = " ".join(lines)
    if told.startswith("Unrecognized options: "):
        listed = told.partition(": ")[2].split(", ")
    elif told.startswith("Unrecognized or misplaced options:"):
        listed = re.findall(r"(\S+) \(applied to ", told)
    else:
        return ""
    return next((word for word in listed if word.startswith("-")), listed[0] if listed else "")


def _told(lines: Sequence[str], unknown: str, arguments: Sequence[str], command: str) -> str:
    """What is wrong, in lower case as other errors are."""
    told = " ".join(line.strip() for line in lines).rstrip(".") or "cannot be read"
    if not command and not arguments[0].startswith("-"):
        told = f"unrecognised command {arguments[0]}"
    elif unknown:
        told = f"unrecognised {'option' if unknown.startswith('-') else 'argument'} {unknown}"
    elif told.startswith("Missing from "):
        names = [line.strip() for line in lines if line.startswith(_INDENT) and not line.startswith(_INDENT + " ")]
        told = f"missing: {', '.join(names)}" if names else told
    told = told[:1].lower() + told[1:]
    return told if len(told) <= _LONGEST else told[:_LONGEST] + "..."


def _similar_options(parts: Sequence[Sequence[str]], unknown: str, command: str) -> list[str]:
    """Options of the command that tyro finds similar to the unknown one."""
    similar: dict[str, None] = {}
    for heading, *lines in filter(None, parts):
        if heading in ("Perhaps you meant:", f"Arguments similar to {unknown}:"):
            option = ""
            for line in lines:
                option = line.split()[0].rstrip(",") if line.startswith(_INDENT + "--") else option
                if line.strip() == f"in {_program(command)} --help":
                    similar[option] = None
    return list(similar)[:_N_SUGGESTIONS]


def _program(command: str) -> str:
    return f"fieldlevel {command}".strip()
