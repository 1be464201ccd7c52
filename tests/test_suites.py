"""The registry of suites: what is known of each, of their twins and of their sets."""

from collections.abc import Iterator

import pytest

from fieldlevel import suites
from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.suites import SuiteFacts, facts_of, known_suites, layout_of, register_suite, suite_named_in

KNOWN = known_suites()


@pytest.fixture
def registry(monkeypatch) -> Iterator[dict[str, SuiteFacts]]:
    """A registry that forgets what a test registers."""
    copy = dict(suites._SUITES)
    monkeypatch.setattr(suites, "_SUITES", copy)
    return copy


@pytest.mark.parametrize("facts", KNOWN, ids=lambda facts: facts.name)
def test_twins_share_everything_that_is_known(facts):
    twin = suites.nbody_twin(facts.name)
    assert facts_of(twin) is facts_of(facts.name) is facts
    assert layout_of(twin) == layout_of(facts.name)
    assert suites.is_nbody(twin)
    assert suites.hydro_twin(twin) == facts.name
    assert suites.is_known(twin)


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
    assert "Mine" in suites.mock_suites()
    assert suite_named_in("L25_MINE") == "Mine"
    assert layout_of("Mine", built_in=True) == Layout(initial_conditions="Mine LH")


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
    ],
)
def test_what_is_known_of_sets(set_name, own_seeds, fills, keeps, varies_h):
    assert suites.has_own_seeds(set_name) == own_seeds
    assert suites.fills_priors(set_name) == fills
    assert suites.keeps_to_priors(set_name) == keeps
    assert suites.varies_hubble(set_name) == varies_h
    assert suites.is_of_camels(set_name) == (set_name != "mine")
