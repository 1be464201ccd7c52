"""Wording shared by many: naming a few of many things, all of a few."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

N_NAMED = 10


def name_some(items: Sequence[object] | npt.NDArray[np.integer]) -> str:
    """Name the first ten of some things and count the rest.

    Example:
        >>> name_some(range(12))
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    shown = ", ".join(str(item) for item in items[:N_NAMED])
    return shown if len(items) <= N_NAMED else f"{shown} and {len(items) - N_NAMED} more"


def joined(words: Sequence[str]) -> str:
    """Words in a row as a sentence has them.

    Example:
        >>> joined(["A", "B", "C"]), joined(["A"])
        ('A, B and C', 'A')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def equal_pairs(keys: Sequence[bytes]) -> list[str]:
    """Name each key that came before, with the number of its first occurrence.

    Example:
        >>> equal_pairs([b"a", b"b", b"a"])
        ['0 and 2']
    """
    first: dict[bytes, int] = {}
    return [f"{first[key]} and {number}" for number, key in enumerate(keys) if first.setdefault(key, number) != number]
