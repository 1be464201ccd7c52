"""The registry of suites: what is known of each, of their twins and of their sets."""

from collections.abc import Iterator

import pytest

from fieldlevel import suites
from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.suites import SuiteFacts, facts_of, known_suites, layout_of, register_suite, suite_named_in

KNOWN = tuple(facts for facts in known_suites() if facts.name != suites.MOCK_TWIN)
OF_CAMELS = tuple(facts for facts in KNOWN if not facts.is_mock)
MOCKS = ("MockTNG", "MockSIMBA", "MockAstrid", "MockEAGLE")


@pytest.fixture
def registry(monkeypatch) -> Iterator[dict[str, SuiteFacts]]:
    """A registry that forgets what a test registers."""
    copy = dict(suites._SUITES)
    monkeypatch.setattr(suites, "_SUITES", copy)
    return copy


@pytest.mark.parametrize("facts", OF_CAMELS, ids=lambda facts: facts.name)
def test_twins_share_everything_that_is_known(facts):
    twin = suites.nbody_twin(facts.name)
    assert twin == f"Nbody_{facts.name}"
    assert facts_of(twin) is facts_of(facts.name) is facts
    assert layout_of(twin) == layout_of(facts.name)
    assert suites.is_nbody(twin)
    assert suites.label_suite(twin) == facts.name
    assert suites.hydro_twins(twin) == (facts.name,)
    assert suites.are_twins(twin, facts.name)
    assert suites.are_twins(facts.name, twin)
    assert suites.is_known(twin)


def test_the_mock_suites_have_one_twin_of_two_parameters():
    assert suites.mock_suites() == MOCKS
    assert {suites.nbody_twin(suite) for suite in (*MOCKS, "Nbody_Mock")} == {"Nbody_Mock"}
    assert suites.hydro_twins("Nbody_Mock") == MOCKS
    assert suites.label_suite("Nbody_Mock") == facts_of("Nbody_Mock").name == "Nbody_Mock"
    assert layout_of("Nbody_Mock").names == ("Omega_m", "sigma_8")
    assert layout_of("Nbody_Mock").parameters == layout_of("MockTNG").cosmological
    assert suites.is_mock("Nbody_Mock")
    assert suites.is_nbody("Nbody_Mock")
    assert suites.is_known("Nbody_Mock")


def test_mock_suites_are_twins_of_their_twin_and_of_no_other():
    assert all(suites.are_twins(suite, "Nbody_Mock") for suite in (*MOCKS, "Nbody_Mock"))
    assert not suites.are_twins("MockTNG", "MockSIMBA")
    assert not suites.are_twins("SIMBA", "Nbody_Mock")
    assert not suites.are_twins("MockTNG", "Nbody_SIMBA")


def test_folders_with_a_twin_of_each_mock_suite_are_known_as_before():
    """As earlier versions made them, with the labels of their suites."""
    assert suites.label_suite("Nbody_MockTNG") == "MockTNG"
    assert layout_of("Nbody_MockTNG").names == Layout().names
    assert suites.are_twins("MockTNG", "Nbody_MockTNG")
    assert not suites.are_twins("MockSIMBA", "Nbody_MockTNG")


@pytest.mark.parametrize("set_name", ["LH", "LHtest", "CV", "1P", "EX", "mine"])
def test_row_i_of_all_mock_suites_is_one_universe(set_name):
    for suite in (*MOCKS, "Nbody_Mock"):
        for again in (set_name, f"{set_name}thin2", f"{set_name}lattice2"):
            assert layout_of(suite, again).initial_conditions == f"mock {set_name}"


@pytest.mark.parametrize("suite", ["MockAstrid", "MockEAGLE"])
def test_the_wide_prior_of_astrid_and_eagle_is_that_of_their_mocks(suite):
    assert layout_of(suite).parameters == layout_of(suite.removeprefix("Mock")).parameters
    assert (layout_of(suite).lows[5], layout_of(suite).highs[5]) == (0.25, 4.0)


@pytest.mark.parametrize(
    ("again", "base"),
    [
        *((name, name) for name in ("LH", "LHtest", "CV", "1P", "EX", "SB28", "mine", "", "run10", "thin2", "n128")),
        ("LHn128", "LH"),
        ("LHtestn128", "LHtest"),
        ("1Pn64", "1P"),
        ("LHthin2", "LH"),
        ("LHthin3p333", "LH"),
        ("LHthin2cdm", "LH"),
        ("LHtestthin8gas", "LHtest"),
        ("LHlattice2", "LH"),
        ("LHthinned", "LH"),
        ("LHtracers", "LH"),
        ("LHtestn512thin8", "LHtest"),
        ("CVn512lattice2", "CV"),
        ("SB28thin2", "SB28"),
        ("minethin2", "mine"),
        ("run10thin4", "run10"),
    ],
)
def test_sets_that_are_done_again_are_known_by_their_names(again, base):
    assert suites.base_set(again) == base
    assert suites.base_set(base) == base


@pytest.mark.parametrize("facts", KNOWN, ids=lambda facts: facts.name)
def test_suites_have_the_parameters_of_camels_in_its_box(facts):
    layout = layout_of(facts.name)
    assert layout.names == Layout().names
    assert (layout.slabs, layout.n_maps) == (Layout().slabs, 15)
    assert layout.is_mock == facts.is_mock
    assert len(facts.feedback_units) in (0, 4)


@pytest.mark.parametrize("facts", KNOWN, ids=lambda facts: facts.name)
def test_a_clue_leads_to_its_own_suite(facts):
    if facts.clue:
        assert suite_named_in(f"L25n256_{facts.name}_LH_0") == facts.name


def test_suites_that_nobody_knows_are_like_those_of_cmd():
    assert layout_of("Mine").parameters == CAMELS_PARAMETERS
    assert not suites.is_known("Mine")
    assert not suites.is_mock("Mine")
    assert suite_named_in("my run") is None


def test_sets_of_one_seed_list_are_of_one_family():
    """As the mock suites share theirs with one another, and with none of CAMELS."""
    for set_name in ("CV", "1P", "EX"):
        whose = {facts.name: layout_of(facts.name, set_name).initial_conditions for facts in KNOWN}
        assert set(whose.values()) == {f"mock {set_name}", f"CAMELS {set_name}"}
    assert layout_of("SIMBA").initial_conditions != layout_of("IllustrisTNG").initial_conditions
    assert layout_of("Mine", "CV").initial_conditions == "Mine CV"


@pytest.mark.parametrize("name", ["Enzo", "Nbody_Mine", "", "my run", "_x", "a" * 101, "a\nb"])
def test_names_that_are_taken_or_none_are_refused(registry, name):
    before = dict(registry)
    with pytest.raises(UserError, match=r"^suite "):
        register_suite(SuiteFacts(name))
    assert registry == before


def test_a_suite_from_outside_is_known_everywhere_in_this_process_alone(registry):
    parameters = (*CAMELS_PARAMETERS, Parameter("Omega_b", low=0.01, high=0.09, cosmological=True))
    register_suite(SuiteFacts("Mine", parameters, clue="mine", is_mock=True))
    assert suites.known_suites()[-1].name == "Mine"
    assert layout_of("Nbody_Mine").parameters == parameters
    assert suites.is_mock("Nbody_Mine")
    assert "Mine" not in suites.mock_suites()
    assert layout_of("Mine", "CV").initial_conditions == "Mine CV"
    assert suite_named_in("L25_MINE") == "Mine"
    assert layout_of("Mine", built_in=True) == Layout(initial_conditions="Mine LH")


def test_a_suite_from_outside_with_a_model_has_the_twin_of_the_others(registry):
    register_suite(SuiteFacts("MockMine", is_mock=True, model="my_baryons:my_model"))
    assert suites.mock_suites() == (*MOCKS, "MockMine")
    assert suites.nbody_twin("MockMine") == "Nbody_Mock"
    assert suites.hydro_twins("Nbody_Mock") == (*MOCKS, "MockMine")
    assert layout_of("MockMine").initial_conditions == "mock LH"
    assert layout_of("MockMine", built_in=True).initial_conditions == "MockMine LH"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (SuiteFacts("Mine", twin="Other"), "twin Other; give a name that begins with Nbody_"),
        (SuiteFacts("Mock"), "Nbody_Mock is a twin of others"),
    ],
)
def test_twins_that_cannot_be_are_refused(registry, facts, words):
    with pytest.raises(UserError, match=words):
        register_suite(facts)


@pytest.mark.parametrize(
    ("set_name", "own_seeds", "fills", "keeps", "varies_h"),
    [
        ("LH", True, True, True, False),
        ("CV", True, False, True, False),
        ("1P", False, False, True, True),
        ("EX", False, False, False, False),
        ("BE", False, False, True, False),
        ("SB28", True, True, True, True),
        ("mine", False, False, False, False),
        ("LHthin2", True, True, True, False),
        ("CVn128", True, False, True, False),
        ("LHtest", True, True, False, False),
    ],
)
def test_what_is_known_of_sets(set_name, own_seeds, fills, keeps, varies_h):
    assert suites.has_own_seeds(set_name) == own_seeds
    assert suites.fills_priors(set_name) == fills
    assert suites.keeps_to_priors(set_name) == keeps
    assert suites.varies_hubble(set_name) == varies_h
    assert suites.is_of_camels(set_name) == (set_name not in ("mine", "LHthin2", "CVn128", "LHtest"))
