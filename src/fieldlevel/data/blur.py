"""A Gaussian of its own for each map, as a spec: for maps whose own resolution nobody knows."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Blur:
    """Which standard deviations are drawn, uniformly from 0 to a largest one.

    Attributes:
        most: the largest [pixels]; 0 draws none.
        seed: of the draws.
        words: whose maps these are; others have other draws.
    """

    most: float = 0.0
    seed: int = 0
    words: str = ""

    @property
    def whole_seed(self) -> int:
        """The seed of these maps."""
        return int.from_bytes(hashlib.blake2b(f"{self.seed} {self.words}".encode(), digest_size=7).digest())
