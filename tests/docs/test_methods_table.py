"""The page that lists methods of training on several suites tells their hyper-parameters as the code has them."""

import inspect
import re
from pathlib import Path

import pytest

from fieldlevel.training.methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_default_weight_of_a_method_is_told(name):
    parameters = inspect.signature(METHODS[name].__init__).parameters
    (row,) = (line for line in PAGE.splitlines() if re.match(rf"\| `{re.escape(name)}`[ ,]", line))
    told = re.search(r"`weight` ([\d.]+)", row)
    assert ("weight" in parameters) == (told is not None)
    if told is not None:
        assert float(told[1]) == parameters["weight"].default
