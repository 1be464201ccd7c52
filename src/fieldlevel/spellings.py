"""Names of several words, such as `power spectrum`, spelled without spaces where a shell would have them quoted."""

from collections.abc import Iterable


def without_spaces(name: str) -> str:
    """A name as one word.

    Example:
        >>> without_spaces("power spectrum")
        'power-spectrum'
    """
    return name.replace(" ", "-")


def name_meant(word: str, names: Iterable[str]) -> str | None:
    """The name that is a word, or is spelled so without spaces; None where there is none.

    Example:
        >>> name_meant("leave-one-out", ("leave one out", "controls"))
        'leave one out'
    """
    known = tuple(names)
    return word if word in known else next((name for name in known if without_spaces(name) == word), None)
