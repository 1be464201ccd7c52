from fieldlevel.study.published_accuracies import FOUR_PAIRS, published_accuracies


def test_published_table_is_the_letters():
    table = {pair: [row[n].text for n in ("Omega_m", "sigma_8", "A_SN1", "A_SN2")] for pair, row in FOUR_PAIRS.items()}
    assert table == {
        ("TNG", "TNG"): ["3.4%", "2.4%", "38%", "17%"],
        ("TNG", "SIMBA"): ["3.9%", "2.6%", "fails, as expected", "fails, as expected"],
        ("SIMBA", "SIMBA"): ["4.5%", "2.7%", "49%", "23%"],
        ("SIMBA", "TNG"): ["4.3%", "2.7%", "fails, as expected", "fails, as expected"],
    }
    assert all(row[name].text == "not constrained" for row in FOUR_PAIRS.values() for name in ("A_AGN1", "A_AGN2"))


def test_only_the_letters_suites_and_their_stand_ins_have_published_numbers():
    assert published_accuracies("MockTNG", "MockSIMBA") == published_accuracies("IllustrisTNG", "SIMBA") != {}
    for suite in ("Astrid", "Nbody_Mock", "Nbody_SIMBA"):
        assert published_accuracies(suite, "SIMBA") == published_accuracies("SIMBA", suite) == {}
