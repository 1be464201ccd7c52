"""Which maps p-values are compared with, so that they are known again: beside themselves maps are never unusual."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldlevel.data.seen import N_DIGITS, map_digests

_MOST_MAPS = 10_000
_MOST_LETTERS = 200


@dataclass(frozen=True)
class Compared:
    """Maps of another set than those of the training, with which p-values are compared.

    Attributes:
        sets: their suites and sets, in words; empty where they are of the network's own validation or calibration.
        digests: of these maps (`data.seen.map_digests`).
    """

    sets: str = ""
    digests: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of_texts(cls, sets: str, digests: str) -> "Compared":
        """From the texts of a file.

        Raises:
            ValueError: texts that are none of these.
        """
        if len(digests) > _MOST_MAPS * N_DIGITS or not re.fullmatch(f"([0-9a-f]{{{N_DIGITS}}})*", digests):
            raise ValueError("digests of maps that are none")
        each = frozenset(digests[start : start + N_DIGITS] for start in range(0, len(digests), N_DIGITS))
        return cls(sets[:_MOST_LETTERS], each)

    def to_texts(self) -> tuple[str, str]:
        """What `of_texts` takes."""
        return self.sets, "".join(sorted(self.digests))

    def n_among(self, maps: Any) -> int:
        """How many of some maps, (n, N, N), are among these."""
        if not self.digests:
            return 0
        pixels = maps.detach().cpu().numpy() if hasattr(maps, "detach") else np.asarray(maps)
        return sum(digest in self.digests for digest in map_digests(pixels))

    def remarks(self, n_among: int) -> tuple[str, ...]:
        """What to say where so many maps are among these; nothing of none."""
        if n_among == 0:
            return ()
        told = "1 of these maps is" if n_among == 1 else f"{n_among} of these maps are"
        return (
            f"{told} among those of {self.sets} that p-values are compared with (fieldlevel trust): p means nothing",
        )


def joined_digests(parts: Iterable[Any]) -> frozenset[str]:
    """Of blocks of maps; flat ones have none."""
    return frozenset(digest for maps in parts for digest in map_digests(np.asarray(maps)) if digest)
