"""Parts of a set of simulations for several processes or machines."""

import re
from dataclasses import dataclass

from fieldlevel.errors import UserError


@dataclass(frozen=True)
class Shard:
    """A part of a set for one process or machine: every `count`-th simulation.

    Attributes:
        number: which part, from 1.
        count: how many parts there are.
    """

    number: int = 1
    count: int = 1

    @staticmethod
    def parse(text: str) -> "Shard":
        """Read `"2/8"`.

        Raises:
            UserError: not two such numbers.

        Example:
            >>> list(Shard.parse("2/8").of(20))
            [1, 9, 17]
        """
        match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", text)
        if match is None or int(match[1]) > int(match[2]):
            raise UserError(f"shard {text!r}: give its number and how many there are, from 1/8 to 8/8 for eight")
        return Shard(int(match[1]), int(match[2]))

    def of(self, n_simulations: int) -> range:
        """Numbers of the simulations in this part."""
        return range(self.number - 1, n_simulations, self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
