"""(h) Two suites trained together by a method of somebody's own, named by its import path."""

import fieldlevel


def test_a_method_of_ones_own(page, command, write_suite, place):
    write_suite("MockTNG")
    write_suite("MockSIMBA")
    (text,) = (text for text in page.commands if "my_methods" in text)
    assert command(text) == 0
    predictor = fieldlevel.load(place / "worst" / "weights.safetensors", "cpu")
    assert predictor.spec.method == "my_methods:Worst"
    assert predictor.spec.method_options == {"weight": 0.5}
    assert [source.suite for source in predictor.sources] == ["MockTNG", "MockSIMBA"]
    assert predictor.layout.names[:2] == ("Omega_m", "sigma_8")
