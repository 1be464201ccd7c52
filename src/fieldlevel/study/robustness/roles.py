"""What a network is for: by which method it is trained, and which suites no label of it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fieldlevel.study.keys import ExperimentKey, Plan, Tests

Kind = Literal["matrix", "all suites", "choice", "leave one out", "inner", "adaptation", "oracle", "control"]

SINGLE = "single suite"
"""What the method of a network on one suite is called."""

NO_TARGET, ALL_TARGET, SHIFTED = "no target maps", "all target maps", "shifted target"
"""Of an adaptation: what is shown of the left-out suite."""

ZERO_WEIGHT, PERMUTED_SUITES = "weight zero", "permuted suite labels"
EQUAL_MAPS, NO_SHARED_ROWS = "equal maps", "no shared rows"
"""Controls."""


@dataclass(frozen=True)
class Role:
    """What networks are for, whatever their seed.

    Attributes:
        kind: of the comparison that they belong to.
        method: that they are trained by, with hyper-parameters where several are compared.
        suites: which are left out, the one that is tested first; of a network on a single suite that one.
        detail: what else they differ in.
    """

    kind: Kind
    method: str
    suites: tuple[str, ...] = ()
    detail: str = ""

    @property
    def target(self) -> str:
        """The suite that is left out, or that a single-suite network is of."""
        return self.suites[0]

    @property
    def label(self) -> str:
        """In words.

        Example:
            >>> Role("leave one out", "mmd", ("SIMBA",)).label
            'leave one out: mmd without SIMBA'
        """
        if self.kind in ("matrix", "oracle"):
            told = f"{self.method} {self.target}"
        else:
            told = f"{self.method} without {' and '.join(self.suites)}" if self.suites else self.method
        return f"{self.kind}: {told}{f', {self.detail}' if self.detail else ''}"


Roles = Mapping[Role, Tests]
"""What is to be trained and tested, in this order."""


def as_plan(roles: Roles) -> Plan:
    """The same as the training of networks takes it."""
    return {ExperimentKey(role.label): tests for role, tests in roles.items()}


def k_target(k: int) -> str:
    """So many simulations without labels, in words."""
    return f"{k} target simulations"
