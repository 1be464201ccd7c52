"""Published numbers to print beside ours: above all the accuracies of the letter's four train/test pairs.

They were measured on the CAMELS maps of IllustrisTNG and SIMBA as released in 2021; the maps were remade in 2024.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fieldlevel.suites import is_mock

Role = Literal["TNG", "SIMBA"]

SOURCE = "Villaescusa-Navarro et al. 2021, arXiv:2109.10360"
SOURCE_URL = "https://arxiv.org/abs/2109.10360"
BIBTEX = """@article{VillaescusaNavarro2021robust,
  author        = {Villaescusa-Navarro, Francisco and others},
  title         = {Robust marginalization of baryonic effects for cosmological inference at the field level},
  year          = {2021},
  eprint        = {2109.10360},
  archivePrefix = {arXiv},
  primaryClass  = {astro-ph.CO},
}"""

ROLES: Mapping[str, Role] = MappingProxyType(
    {"IllustrisTNG": "TNG", "SIMBA": "SIMBA", "MockTNG": "TNG", "MockSIMBA": "SIMBA"}
)
"""Which suite of the letter a suite stands for; the others stand for none."""


@dataclass(frozen=True)
class PublishedAccuracy:
    """One published number.

    Attributes:
        value: relative accuracy <delta theta / theta> as a fraction, None where the letter gives no number.
        remark: what the letter says instead.
    """

    value: float | None
    remark: str = ""

    @property
    def text(self) -> str:
        """The number in per cent, or the remark."""
        return self.remark if self.value is None else f"{100 * self.value:.3g}%"


_AGN = {name: PublishedAccuracy(None, "not constrained") for name in ("A_AGN1", "A_AGN2")}
_FAILS = {name: PublishedAccuracy(None, "fails, as expected") for name in ("A_SN1", "A_SN2")}


def _row(cosmology: tuple[float, float], supernovae: tuple[float, float] | None) -> Mapping[str, PublishedAccuracy]:
    accuracies = dict(zip(("Omega_m", "sigma_8"), map(PublishedAccuracy, cosmology), strict=True))
    if supernovae is None:
        return MappingProxyType(accuracies | _FAILS | _AGN)
    numbers = zip(("A_SN1", "A_SN2"), map(PublishedAccuracy, supernovae), strict=True)
    return MappingProxyType(accuracies | dict(numbers) | _AGN)


FOUR_PAIRS: Mapping[tuple[Role, Role], Mapping[str, PublishedAccuracy]] = MappingProxyType(
    {
        ("TNG", "TNG"): _row((0.034, 0.024), (0.38, 0.17)),
        ("TNG", "SIMBA"): _row((0.039, 0.026), None),
        ("SIMBA", "SIMBA"): _row((0.045, 0.027), (0.49, 0.23)),
        ("SIMBA", "TNG"): _row((0.043, 0.027), None),
    }
)
"""Accuracy of each parameter by (trained on, tested on)."""


K_MAX_LOSSES: Mapping[float, float] = MappingProxyType(
    {1.0: -8.29, 5.0: -9.13, 10.0: -9.93, 20.0: -10.95, 30.0: -11.48, 40.0: -12.31, math.inf: -12.61}
)
"""Lowest validation loss on total mass of IllustrisTNG against a sharp cut of the wavenumber in h/Mpc, from a public
re-run of the released recipe, not from the letter."""


def published_accuracies(train_suite: str, test_suite: str) -> Mapping[str, PublishedAccuracy]:
    """The letter's accuracies for a pair of suites, by parameter name; empty where the letter has no such pair.

    Example:
        >>> published_accuracies("MockTNG", "MockSIMBA")["Omega_m"].text
        '3.9%'
        >>> dict(published_accuracies("Astrid", "SIMBA"))
        {}
    """
    if train_suite not in ROLES or test_suite not in ROLES or is_mock(train_suite) != is_mock(test_suite):
        return MappingProxyType({})
    return FOUR_PAIRS[ROLES[train_suite], ROLES[test_suite]]
