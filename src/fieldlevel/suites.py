"""The suites that the package knows, those of CAMELS and its own mock suites, and their sets of simulations.

Sets are known by their names: LH, CV, 1P, EX, BE and the Sobol sequences SB<number>; others are the user's own, among
them LH<word>, latin hypercubes besides LH. What follows such a name may say how the same simulations were done again:
n<number>, with another number of particles a side, and how their particles were thinned (`set_parts`).

Row i of a set is one universe in all mock suites: Omega_m, sigma_8 and the initial conditions are shared, so they have
one gravity-only twin together, `MOCK_TWIN`. Each suite of CAMELS has a twin of its own.

A suite that is not here is one of the user's own: it has the layout of the CAMELS Multifield Dataset unless a file
beside its maps says otherwise (`fieldlevel.data.layout_files`).

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (IllustrisTNG, SIMBA and the sets); Ni et al. 2023,
    arXiv:2304.02096 (Astrid); the documentation of CAMELS (EAGLE, Magneticum, Ramses).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fieldlevel.errors import UserError, shown
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter

NBODY_PREFIX = "Nbody_"
MOCK_TWIN = f"{NBODY_PREFIX}Mock"
"""The gravity-only twin of all mock suites."""
MOCK_MARK = "MOCK DATA"
"""Stands on every result of mock maps."""
MOCK_ORIGIN = f"{MOCK_MARK} simulated by fieldlevel, not CAMELS"
"""Stands in the header of every mock snapshot."""

HUBBLE = 0.6711
"""Of all CAMELS simulations of six parameters."""

SUITE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}"
SUITE_NAME_IN_WORDS = "letters and digits, with _ . + - after the first"
"""Of suites: they stand in names of files, in tables and in reports."""

SET_NAMES = ("LH", "CV", "1P", "EX", "BE")
"""Of CAMELS, besides the Sobol sequences."""
_SOBOL = re.compile(r"SB\d+")
_SETS_OF_ONE_SEED_LIST = ("CV", "1P", "EX")
_SETS_OF_SHARED_SEEDS = ("1P", "EX")
_SETS_OF_VARIED_H = ("SB", "1P")
_HYPERCUBE = re.compile(r"LH[A-Za-z0-9]*")
TRAINING_ENDINGS = ("thinned", "tracers", "smoothed")
"""Of the names of sets to train on, whose maps have random numbers of particles, or are smoothed at random."""
_THINNED = re.compile(
    rf"(?P<whole>.+?)(?P<ending>thin[1-9]\d*(p\d+)?(cdm|gas)?|lattice[1-9]\d*|{'|'.join(TRAINING_ENDINGS)})?"
)
_WITH_PARTICLES = re.compile(r"(?P<base>LH[A-Za-z0-9]*?|CV|1P|EX)n(?P<number>[1-9]\d*)")


def set_parts(set_name: str) -> tuple[str, int | None, str]:
    """What the name of a set tells of its simulations and of their particles.

    Args:
        set_name: it may end in how its particles were thinned (`thin<number>`, where one kind alone was with `cdm` or
            `gas`; `lattice<number>`; `thinned`; `tracers`; `smoothed`), and of LH, LH<word>, CV, 1P and EX before that
            in `n<number>`, the particles a side.

    Returns:
        The set whose simulations are done again, the particles a side where it states them, and the ending.

    Example:
        >>> [set_parts(name) for name in ("LHtestn512thin8", "LHthin2cdm", "mine10")]
        [('LHtest', 512, 'thin8'), ('LH', None, 'thin2cdm'), ('mine10', None, '')]
    """
    thinned = _THINNED.fullmatch(set_name)
    whole, ending = thinned.group("whole", "ending") if thinned else (set_name, None)
    again = _WITH_PARTICLES.fullmatch(whole)
    return (again["base"], int(again["number"]), ending or "") if again else (whole, None, ending or "")


def base_set(set_name: str) -> str:
    """The set whose simulations a set has, done again with other particles (`set_parts`); most sets are their own.

    Example:
        >>> [base_set(name) for name in ("LHtestn512thin8", "LHthin2cdm", "CVn128", "mine10", "LH")]
        ['LHtest', 'LH', 'CV', 'mine10', 'LH']
    """
    return set_parts(set_name)[0]


def particles_named(set_name: str) -> int | None:
    """Particles a side that the name of a set states, None where it states none.

    Example:
        >>> particles_named("LHtestn512thin8"), particles_named("LHtest")
        (512, None)
    """
    return set_parts(set_name)[1]


def is_thinned(set_name: str) -> bool:
    """Whether the name of a set says that its maps are not those of all particles as they are.

    Example:
        >>> is_thinned("LHthin2"), is_thinned("LHn512")
        (True, False)
    """
    return set_parts(set_name)[2] != ""


def is_hypercube(set_name: str) -> bool:
    """Whether a set is a latin hypercube, LH or LH<word>, perhaps done again (`base_set`).

    Example:
        >>> is_hypercube("LH"), is_hypercube("LHtestthin2"), is_hypercube("CV")
        (True, True, False)
    """
    return _HYPERCUBE.fullmatch(base_set(set_name)) is not None


def is_sobol(set_name: str) -> bool:
    """Whether a set is a Sobol sequence, of physical numbers in all parameters of a code.

    Example:
        >>> is_sobol("SB28"), is_sobol("LH")
        (True, False)
    """
    return _SOBOL.fullmatch(base_set(set_name)) is not None


def is_of_camels(set_name: str) -> bool:
    """Whether a set is one of CAMELS; others are the user's own."""
    return set_name in SET_NAMES or _SOBOL.fullmatch(set_name) is not None


def keeps_to_priors(set_name: str) -> bool:
    """Whether a set keeps to the priors by design; the extreme set EX and sets of the user's own need not."""
    return is_of_camels(base_set(set_name)) and base_set(set_name) != "EX"


def has_own_seeds(set_name: str) -> bool:
    """Whether no two simulations of a set share their seed."""
    return base_set(set_name) == "CV" or fills_priors(set_name)


def shares_seeds(set_name: str) -> bool:
    """Whether simulations of a set differ in their parameters at the same initial conditions."""
    return base_set(set_name) in _SETS_OF_SHARED_SEEDS


def fills_priors(set_name: str) -> bool:
    """Whether a set has a seed of its own and other parameters for each simulation: a hypercube or a sequence."""
    return is_hypercube(set_name) or is_sobol(set_name)


def has_one_seed_list(set_name: str) -> bool:
    """Whether simulations of one number share their seed in all suites of CAMELS."""
    return base_set(set_name) in _SETS_OF_ONE_SEED_LIST


def varies_hubble(set_name: str) -> bool:
    """Whether CAMELS varies the Hubble parameter in a set too."""
    return set_name.startswith(_SETS_OF_VARIED_H)


def _with_wide_agn2() -> tuple[Parameter, ...]:
    return tuple(replace(each, low=0.25, high=4.0) if each.name == "A_AGN2" else each for each in CAMELS_PARAMETERS)


@dataclass(frozen=True)
class SuiteFacts:
    """What is known of a hydrodynamic suite and its gravity-only twin.

    Attributes:
        name: as in the names of the files.
        parameters: with the priors of its latin hypercube.
        clue: part of the name that headers of snapshots state, in small letters, by which the suite is known.
        is_mock: whether this package simulates it.
        model: of a mock suite, where its baryons are made: `module:function` (`fieldlevel.simulate`).
        twin: name of the gravity-only suite, where it is not `Nbody_<name>`: of a mock suite with a model `MOCK_TWIN`.
        feedback_units: fiducial values of the feedback columns in tables of physical numbers, as those of the SB sets.
        foreign_order: columns of its tables where they are others than those of the parameters.
        is_of_maps: whether the CAMELS Multifield Dataset has maps of it.
    """

    name: str
    parameters: tuple[Parameter, ...] = CAMELS_PARAMETERS
    clue: str = ""
    is_mock: bool = False
    model: str = ""
    twin: str = ""
    feedback_units: tuple[float, ...] = ()
    foreign_order: tuple[str, ...] = ()
    is_of_maps: bool = False

    def __post_init__(self) -> None:
        if self.is_mock and self.model and not self.twin:
            object.__setattr__(self, "twin", MOCK_TWIN)

    @property
    def is_simulated(self) -> bool:
        """Whether this package makes it from the simulations that all mock suites share, or is their twin."""
        return MOCK_TWIN in (self.name, self.twin)


_SUITES: dict[str, SuiteFacts] = {}


def register_suite(facts: SuiteFacts) -> None:
    """Make a suite known to all of the package, in this process.

    Raises:
        UserError: a name that is none, that is taken or that of a gravity-only twin, or a twin of another name.

    Example:
        >>> register_suite(SuiteFacts("Enzo", clue="enzo"))
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: suite Enzo: known already; give another name
    """
    if not re.fullmatch(SUITE_NAME, facts.name):
        raise UserError(f"suite {shown(facts.name)}: no name; give {SUITE_NAME_IN_WORDS}")
    if facts.name in _SUITES:
        raise UserError(f"suite {facts.name}: known already; give another name")
    if is_nbody(facts.name):
        raise UserError(f"suite {facts.name}: gravity-only twins follow from {label_suite(facts.name)}; register that")
    if not is_nbody(facts.twin or NBODY_PREFIX):
        raise UserError(f"suite {facts.name}: twin {shown(facts.twin)}; give a name that begins with {NBODY_PREFIX}")
    if not facts.twin and NBODY_PREFIX + facts.name in _SUITES:
        raise UserError(f"suite {facts.name}: {NBODY_PREFIX}{facts.name} is a twin of others; give another name")
    _SUITES[facts.name] = facts


def known_suites() -> tuple[SuiteFacts, ...]:
    """All suites that are registered, in the order in which they were."""
    return tuple(_SUITES.values())


def facts_of(suite: str) -> SuiteFacts:
    """What is known of a suite or of that whose labels it has; of an unknown one that it is like CAMELS'."""
    name = label_suite(suite)
    return _SUITES.get(name, SuiteFacts(name))


def is_known(suite: str) -> bool:
    """Whether a suite or that whose labels it has is registered."""
    return label_suite(suite) in _SUITES


def mock_suites() -> tuple[str, ...]:
    """Names of the suites with baryons that this package simulates."""
    return _names(facts for facts in known_suites() if facts.is_mock and facts.model)


def camels_suites() -> tuple[str, ...]:
    """Names of the suites that the CAMELS Multifield Dataset has maps of."""
    return _names(facts for facts in known_suites() if facts.is_of_maps)


def _names(suites: Iterable[SuiteFacts]) -> tuple[str, ...]:
    return tuple(facts.name for facts in suites)


def suite_named_in(text: str) -> str | None:
    """The hydrodynamic suite that a name in a header means, also that of its gravity-only twin; None if none is known.

    Example:
        >>> suite_named_in("L25n256_IllustrisTNG"), suite_named_in("my run")
        ('IllustrisTNG', None)
    """
    lower = label_suite(text).casefold()
    return next((facts.name for facts in known_suites() if facts.clue and facts.clue in lower), None)


def layout_of(suite: str, set_name: str = "LH", *, built_in: bool = False) -> Layout:
    """The layout of a suite's maps where no file beside them says otherwise.

    Args:
        suite: also a gravity-only one, which shares that of its twin; that of the mock suites has the cosmology alone.
        set_name: of its simulations.
        built_in: as a process has it in which nobody has registered a suite.

    Example:
        >>> layout_of("Astrid").parameters[5].high, layout_of("SIMBA").parameters[5].high
        (4.0, 2.0)
        >>> layout_of("SIMBA", "CV").initial_conditions, layout_of("Nbody_SIMBA").initial_conditions
        ('CAMELS CV', 'SIMBA LH')
        >>> layout_of("MockTNG").initial_conditions, layout_of("Nbody_Mock", "LHthin2").initial_conditions
        ('mock LH', 'mock LH')
    """
    name = label_suite(suite)
    facts = _SUITES[name] if name in (_BUILT_IN if built_in else _SUITES) else None
    known = facts or SuiteFacts(name)
    whose = f"{_owner_of_seeds(facts, set_name) or name} {base_set(set_name)}"
    return Layout(known.parameters, is_mock=known.is_mock, initial_conditions=whose)


def _owner_of_seeds(facts: SuiteFacts | None, set_name: str) -> str | None:
    """Who shares the initial conditions of a set beside the suite and its twin; None where nobody does."""
    if facts is None:
        return None
    if facts.is_simulated:
        return "mock"
    return "CAMELS" if has_one_seed_list(set_name) and not facts.is_mock else None


def is_mock(suite: str) -> bool:
    """Whether a suite was simulated by this package rather than by CAMELS."""
    return facts_of(suite).is_mock


def is_nbody(suite: str) -> bool:
    """Whether a suite is gravity-only, so that only Omega_m and sigma_8 mean anything."""
    return suite.startswith(NBODY_PREFIX)


def nbody_twin(suite: str) -> str:
    """Name of the gravity-only suite with the same initial conditions.

    Example:
        >>> nbody_twin("SIMBA"), nbody_twin("MockSIMBA"), nbody_twin("Nbody_Mock")
        ('Nbody_SIMBA', 'Nbody_Mock', 'Nbody_Mock')
    """
    return suite if is_nbody(suite) else facts_of(suite).twin or NBODY_PREFIX + suite


def hydro_twins(suite: str) -> tuple[str, ...]:
    """Names of the hydrodynamic suites with the same initial conditions as a gravity-only one.

    Example:
        >>> hydro_twins("Nbody_SIMBA"), hydro_twins("Nbody_Mock")[:2]
        (('SIMBA',), ('MockTNG', 'MockSIMBA'))
    """
    shared = _names(facts for facts in known_suites() if facts.twin == suite)
    return shared or (label_suite(suite),)


def are_twins(one: str, other: str) -> bool:
    """Whether two suites are one, or one is the gravity-only twin of the other.

    Mock suites share their initial conditions too, but are no twins of one another: `Layout.initial_conditions`.

    Example:
        >>> are_twins("SIMBA", "Nbody_SIMBA"), are_twins("MockTNG", "Nbody_Mock"), are_twins("MockTNG", "MockSIMBA")
        (True, True, False)
    """
    has_twin = is_nbody(one) or is_nbody(other)
    share_labels = label_suite(one) == label_suite(other)
    return one == other or (has_twin and (share_labels or nbody_twin(one) == nbody_twin(other)))


def label_suite(suite: str) -> str:
    """The suite whose labels, ranges and layout a suite has where it has none of its own.

    It is that of which a gravity-only one has the name; any other suite, and `MOCK_TWIN`, has its own.

    Example:
        >>> label_suite("Nbody_SIMBA"), label_suite("SIMBA"), label_suite("Nbody_Mock")
        ('SIMBA', 'SIMBA', 'Nbody_Mock')
    """
    return suite if suite in _SUITES else suite.removeprefix(NBODY_PREFIX)


_RAMSES = ("Omega_m", "sigma_8", "A_SN1", "A_SN2", "A_AGN1", "A_AGN2")

for _facts in (
    SuiteFacts("IllustrisTNG", clue="tng", feedback_units=(3.6, 1.0, 7.4, 20.0), is_of_maps=True),
    SuiteFacts("SIMBA", clue="simba", feedback_units=(1.0, 20.0, 1.6, 7000.0), is_of_maps=True),
    SuiteFacts("Astrid", _with_wide_agn2(), clue="astrid", is_of_maps=True),
    SuiteFacts("MockTNG", is_mock=True, model="fieldlevel.simulate.mock_tng:mock_tng"),
    SuiteFacts("MockSIMBA", is_mock=True, model="fieldlevel.simulate.mock_simba:mock_simba"),
    SuiteFacts("MockAstrid", _with_wide_agn2(), is_mock=True, model="fieldlevel.simulate.mock_astrid:mock_astrid"),
    SuiteFacts("MockEAGLE", _with_wide_agn2(), is_mock=True, model="fieldlevel.simulate.mock_eagle:mock_eagle"),
    SuiteFacts("EAGLE", _with_wide_agn2(), clue="eagle"),
    SuiteFacts("Swift-EAGLE", _with_wide_agn2()),
    SuiteFacts("SwiftEAGLE", _with_wide_agn2()),
    SuiteFacts("Magneticum", _with_wide_agn2(), clue="magneticum"),
    SuiteFacts("Illustris", clue="illustris"),
    SuiteFacts("Ramses", clue="ramses", foreign_order=_RAMSES),
    SuiteFacts("Enzo", clue="enzo"),
    SuiteFacts("Obsidian", clue="obsidian"),
    SuiteFacts("CROCODILE", clue="crocodile"),
):
    register_suite(_facts)
_SUITES[MOCK_TWIN] = SuiteFacts(MOCK_TWIN, tuple(each for each in CAMELS_PARAMETERS if each.cosmological), is_mock=True)
_BUILT_IN = frozenset(_SUITES)
"""What every process knows, whatever else one of them has registered."""
