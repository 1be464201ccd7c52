"""Docstrings as the site reads them: an extension of griffe, which knows the section "Examples" alone."""

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class DocstringSections(Extension):
    """Sections "Example" of the package's docstrings become sections of examples."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)
