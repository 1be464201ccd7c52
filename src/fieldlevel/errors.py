"""Errors that a user can mend: one line that says what, where and what to do.

The command line prints the message alone and exits with code 2. Anything else that escapes is a defect of the package
and keeps its traceback.
"""

_LONGEST_WORD, _LONGEST_LINE = 300, 600
_LONGEST_PATH = 4200
_LONGEST_REASON, _LONGEST_VALUE = 300, 80


def one_line(text: str) -> str:
    r"""Put a message on one line that a terminal can show, however long or strange what it quotes.

    Args:
        text: may quote what somebody else wrote.

    Returns:
        Line ends as blanks, other characters that cannot be printed as escapes; the middle of words of over 300
        characters, then that of lines of over 600, is left out. The path that a message begins with stays whole.

    Example:
        >>> one_line("x.txt: holds\n 'a\x1b[31m'; mend the row")
        "x.txt: holds 'a\\x1b[31m'; mend the row"
    """
    line = " ".join(part for each in text.splitlines() if (part := each.strip()))
    shown = printable(line)
    place, colon, rest = shown.partition(": ")
    if colon and "/" in place and len(place) <= _LONGEST_PATH:
        return f"{place}: {_bounded(rest)}"
    return _bounded(shown)


def _bounded(text: str) -> str:
    return _without_middle(" ".join(_without_middle(word, _LONGEST_WORD) for word in text.split(" ")), _LONGEST_LINE)


def printable(text: str) -> str:
    r"""Text with escapes for what is no visible character: line ends, codes for terminals, bytes of no encoding.

    Example:
        >>> printable("a\x1b[2Jb\n")
        'a\\x1b[2Jb\\n'
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def shown(value: object) -> str:
    r"""A value that somebody gave, in one line of modest length: as it is, or its beginning in quotes.

    Example:
        >>> shown(0.5), shown("two\nlines")
        ('0.5', "'two\\nlines'")
    """
    text = str(value)
    return text if text.isprintable() and len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]!r}"


def reason(error: BaseException) -> str:
    r"""What an error of other code says, in a line of modest length, to be told in a message of our own.

    Example:
        >>> reason(FileNotFoundError(2, "No such file or directory", "x.txt")), reason(ValueError("two\n  lines"))
        ('No such file or directory', 'two lines')
    """
    told = getattr(error, "strerror", None) or error
    return " ".join(str(told).split())[:_LONGEST_REASON]


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    byte = ord(character) - 0xDC00  # of a name that is not in the encoding of the file system
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape").decode("ascii")


def _without_middle(text: str, most: int) -> str:
    kept = most // 2 - 3
    return text if len(text) <= most else f"{text[:kept]} ... {text[-kept:]}"


class OneLineError(Exception):
    """An error whose message is one line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class UserError(OneLineError):
    """Bad input: the message names the thing, the place and the remedy on one line."""


class DataError(UserError):
    """A data folder that cannot be used.

    Attributes:
        defects: every defect found, one line each.
    """

    def __init__(self, defects: list[str]) -> None:
        self.defects = [one_line(defect) for defect in defects]
        more = f" (and {len(defects) - 1} more: run `fieldlevel check` on the folder)" if len(defects) > 1 else ""
        super().__init__(f"{self.defects[0]}{more}")

    def __reduce__(self) -> tuple[type["DataError"], tuple[list[str]]]:
        """Pickle the defects, not the message, so that the error comes through from a worker process."""
        return type(self), (self.defects,)


class TrainingError(OneLineError):
    """Training cannot go on; the message gives the step, the learning rate and the remedy. Exit code 1."""
