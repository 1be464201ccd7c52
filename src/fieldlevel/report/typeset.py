"""Names of parameters as symbols in HTML."""

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

_GREEK = {"Omega": "Ω", "sigma": "σ"}


def typeset(text: str, names: Sequence[str]) -> Markup:
    """Escape a text for HTML and set the names of the parameters as symbols.

    Args:
        text: plain.
        names: of the parameters, e.g. `Layout.names`.

    Example:
        >>> typeset("R² of Omega_m > 0.9", ["Omega_m"])
        Markup('R² of Ω<sub>m</sub> &gt; 0.9')
        >>> typeset("A_SN1[SIMBA]", ["A_SN1", "A_SN1[SIMBA]"])
        Markup('<i>A</i><sub>SN1</sub><sup>SIMBA</sup>')
    """
    html = str(escape(text))
    if names:
        pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        html = re.sub(rf"(?<![A-Za-z0-9_])(?:{pattern})(?![A-Za-z0-9_])", lambda found: _symbol(found[0]), html)
    return Markup(html.replace(" ± ", "&nbsp;±&nbsp;"))


def _symbol(name: str) -> str:
    """What stands before the first underscore with the rest as its index, a suite in brackets above it."""
    base, _, suite = name.partition("[")
    letter, _, index = base.partition("_")
    symbol = _GREEK.get(letter, f"<i>{letter}</i>")
    below = f"<sub>{index}</sub>" if index else ""
    above = f"<sup>{suite.rstrip(']')}</sup>" if suite else ""
    return f"{symbol}{below}{above}"
