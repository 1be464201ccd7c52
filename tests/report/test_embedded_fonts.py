"""The letters of a page, as they stand in it."""

import base64
import re
from io import BytesIO

import pytest
from fontTools.ttLib import TTFont

from fieldlevel.report.embedded_fonts import embedded_fonts

WORDS = "Ω σ χ² ⟨σ/μ⟩ ± → − √ θ"


def fonts(text):
    rules = re.findall(r"base64,([^)]*)\)", embedded_fonts(text))
    return [TTFont(BytesIO(base64.b64decode(rule))) for rule in rules]


@pytest.fixture(scope="module")
def found():
    return fonts(WORDS)


def test_every_letter_of_the_page_is_there_in_every_face_that_has_it(found):
    assert len(found) == 3
    assert {ord(letter) for letter in WORDS} <= found[0].getBestCmap().keys()
    for font in found:
        assert {ord(letter) for letter in "Abc 019σ±"} <= font.getBestCmap().keys()


def test_letters_that_do_not_occur_are_left_out(found):
    assert ord("Ж") not in found[0].getBestCmap()
    assert ord("Ж") in fonts(WORDS + "Ж")[0].getBestCmap()


def test_the_same_letters_give_the_same_bytes_and_not_many():
    assert embedded_fonts(WORDS) == embedded_fonts(WORDS[::-1])
    assert len(embedded_fonts(WORDS)) < 200_000
