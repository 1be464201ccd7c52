"""Sets of one suite that differ in the number of particles alone, known by their names.

Of the set S, whose rows and seeds they share:

    Sthin2, Sthin3p333        a random half, or 1/3.333, of the particles, their mass given back
    Sthin2cdm, Sthin2gas      one kind alone thinned
    Slattice2                 every second particle of the lattice a side
    Sn128, Sn512              simulated with so many particles a side
    Sn512thin8                the same, thinned
    Sthinned, Stracers        to train on: each map from a random fraction of the particles, or of tracers between them
    Ssmoothed                 to train on: particles spread to a random number of neighbours in each map
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldlevel.data.cmd_format import SuiteFiles, list_suites
from fieldlevel.data.geometry import RECORD_NAME
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json_object
from fieldlevel.suites import camels_suites, set_parts

TRAINING_SUFFIXES = {
    "thinned": "maps from random parts of the particles",
    "tracers": "maps from random numbers of tracers",
    "smoothed": "maps of particles that are spread at random",
}
"""Of sets to train on whose maps hide the mass of a single particle, in words."""

CAMELS_PARTICLES = 256
"""A side, of each kind, in the boxes of 25 Mpc/h."""

_KINDS = {"cdm": "dark matter", "gas": "gas"}
_ENDING = re.compile(r"thin(?P<inverse>\d+(?:p\d+)?)(?P<kind>cdm|gas)?|lattice(?P<step>\d+)")


@dataclass(frozen=True)
class NumericsSet:
    """What the name of a set tells of its particles.

    Attributes:
        base: set with the same rows and seeds and all the particles.
        fraction: of the particles that are kept.
        kind: that alone is thinned, `cdm` or `gas`; all of them where it is empty.
        lattice: particles of the lattice a side from one that is kept to the next; 1 where the choice is random.
        n_particles: a side, that were simulated; None for those of the base.
    """

    base: str
    fraction: float = 1.0
    kind: str = ""
    lattice: int = 1
    n_particles: int | None = None

    @property
    def is_random(self) -> bool:
        """Whether it is a random part of all particles of the base."""
        return not self.kind and self.lattice == 1 and self.n_particles is None

    @property
    def words(self) -> str:
        """What was done, for people.

        Example:
            >>> parse_numerics_set("LHn512thin8").words, parse_numerics_set("CVthin4gas").words
            ('512³ particles, 1/8 of them', '1/4 of the gas particles')
        """
        simulated = f"{self.n_particles}³ particles" if self.n_particles else ""
        kept = "" if self.fraction == 1 else f"1/{1 / self.fraction:g} of "
        if self.lattice > 1:
            kept = f"one in {self.lattice} a side of "
        if kept and not simulated:
            return f"{kept}the {_KINDS[self.kind]} particles" if self.kind else f"{kept}the particles"
        of_kind = f"the {_KINDS[self.kind]}" if self.kind else "them"
        return ", ".join(filter(None, (simulated, kept and f"{kept}{of_kind}"))) or "all particles"

    @property
    def mark(self) -> str:
        """The same in as few letters as a figure has room for; none of random parts of all particles.

        Example:
            >>> [parse_numerics_set(name).mark for name in ("LHn128", "LHn512thin8", "LHlattice2", "LHthin2gas")]
            ['128³', '1/8 of 512³', 'lattice', 'gas']
        """
        if self.n_particles is None:
            return "lattice" if self.lattice > 1 else _KINDS.get(self.kind, "")
        kept = "" if self.fraction == 1 else f"1/{1 / self.fraction:g} of "
        return f"{kept}{self.n_particles}³"

    def density(self, n_base: int | None) -> float | None:
        """Particles over those of the base; None where it is not known how many these are.

        Args:
            n_base: particles a side of the base.

        Example:
            >>> parse_numerics_set("LHn512thin8").density(256), parse_numerics_set("LHn512").density(None)
            (1.0, None)
        """
        if self.n_particles is None:
            return self.fraction
        return None if n_base is None else self.fraction * (self.n_particles / n_base) ** 3


def parse_numerics_set(name: str) -> NumericsSet:
    """What the name of a set tells of its particles; one without a suffix is its own base.

    Example:
        >>> parse_numerics_set("LHtestn512thin8")
        NumericsSet(base='LHtest', fraction=0.125, kind='', lattice=1, n_particles=512)
        >>> parse_numerics_set("LHlattice2").fraction, parse_numerics_set("LHthin3p333cdm").kind
        (0.125, 'cdm')
    """
    base, n_particles, ending = set_parts(name)
    if ending in TRAINING_SUFFIXES:
        return NumericsSet(name)
    if (found := _ENDING.fullmatch(ending)) is None:
        return NumericsSet(base, n_particles=n_particles)
    step, inverse = int(found["step"] or 1), float((found["inverse"] or "1").replace("p", "."))
    return NumericsSet(base, 1 / inverse / step**3, found["kind"] or "", step, n_particles)


def numerics_sets(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the sets of a suite whose base is there too, with these bases, the fullest first.

    Example:
        >>> numerics_sets(["LH", "LHthin2", "CV", "EXthin2", "LHthinned"])
        ('LH', 'LHthin2')
    """
    there = {name: parse_numerics_set(name) for name in names}
    changed = {name: each for name, each in there.items() if name != each.base and each.base in there}
    found = {name: there[name] for name in {*changed, *(each.base for each in changed.values())}}
    return tuple(sorted(found, key=lambda name: _order(name, found[name])))


def _order(name: str, told: NumericsSet) -> tuple[str, int, str, int, float, str]:
    return told.base, told.n_particles or 0, told.kind, told.lattice, -told.fraction, name


def training_sets(names: Iterable[str], train_set: str) -> tuple[str, ...]:
    """Those of the sets of a suite that were made to train on in the place of one.

    Example:
        >>> training_sets(["LH", "LHthin2", "LHthinned"], "LH")
        ('LHthinned',)
    """
    there = set(names)
    return tuple(f"{train_set}{suffix}" for suffix in TRAINING_SUFFIXES if f"{train_set}{suffix}" in there)


def trained_sets(sets: Mapping[str, Sequence[str]], train_set: str, chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """The set of a letter and those that some suite has to train on in its place.

    Args:
        sets: names of all sets of each suite.
        train_set: of the letter.
        chosen: those of them that are wanted; all when empty.

    Example:
        >>> trained_sets({"A": ["LH", "LHtracers"], "B": ["LH", "LHthinned"]}, "LH")
        ('LH', 'LHtracers', 'LHthinned')
    """
    found = dict.fromkeys([train_set, *(each for names in sets.values() for each in training_sets(names, train_set))])
    return tuple(name for name in found if not chosen or name in chosen)


def training_words(set_name: str) -> str:
    """What the maps of such a set are.

    Example:
        >>> training_words("LHthinned")
        'maps from random parts of the particles'
    """
    return next((words for suffix, words in TRAINING_SUFFIXES.items() if set_name.endswith(suffix)), "other maps")


def sets_of(directory: Path, suites: Sequence[str], field: str) -> dict[str, tuple[str, ...]]:
    """Names of all sets of each suite that a folder holds in a field."""
    found = list_suites(directory)
    return {
        suite: tuple(files.set_name for files in found if (files.suite, files.field) == (suite, field))
        for suite in suites
    }


def particles_a_side(files: SuiteFiles) -> int | None:
    """How many there are of each kind in the simulations of a suite, as far as anything tells.

    The record of the folder has it for mock suites; in CAMELS all have one number.
    """
    if files.suite in camels_suites():
        return CAMELS_PARTICLES
    try:
        n_particles = _recorded(read_json_object(files.directory / RECORD_NAME), files)
    except (UserError, LookupError, TypeError):
        return None
    return n_particles if type(n_particles) is int and n_particles > 0 else None


def _recorded(record: Mapping[str, object], files: SuiteFiles) -> object:
    part = record[f"{files.suite}_{files.set_name}"]
    return part["spec"]["n_particles"]  # type: ignore[index]
