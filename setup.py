"""The description of the package on an index: the README, whose links into the repository lead nowhere from there."""

import re
from pathlib import Path

from setuptools import setup

_LINK = re.compile(r"(!?)\[([^]]*)\]\((?!https?://|mailto:)[^)]*\)")


def description() -> str:
    """The README with the text of relative links in their place, and of figures what they show.

    A link that is text alone names its file, so a reader finds it in the source distribution.
    """
    readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    return _LINK.sub(lambda found: f"*(Figure: {found[2]})*" if found[1] else found[2], readme)


setup(long_description=description(), long_description_content_type="text/markdown")
