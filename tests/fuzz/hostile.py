"""Hostile values and damage of every kind, as strategies of Hypothesis."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

HUGE = "9" * 5000
DEEP = 3000

numbers = st.sampled_from(
    [
        0,
        1,
        -1,
        2,
        3,
        7,
        2**31,
        -(2**31),
        2**32 + 5,
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64,
        2**70,
        10**30,
        -(10**30),
        10**300,
    ]
)
floats = st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, -1.0, 1.5, 1e-300, 5e-324, 1e-30, 1e-9, 1e9, 1e30, 1e300, 1.7976931348623157e308]
)
strange_floats = st.sampled_from([float("nan"), float("inf"), -float("inf")])
texts = st.sampled_from(
    [
        "",
        " ",
        "x",
        "0",
        "1e5",
        "nan",
        "null",
        "true",
        "LH",
        "Mtot",
        "MockTNG",
        "../../etc/passwd",
        "/dev/zero",
        "a/b",
        "\0",
        "a\0b",
        "\n",
        "a\nb",
        "\r\n",
        "\x1b[31mred",
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "%s%n",
        "{}",
        "[bold]x[/bold]",
        "[/]",
        "été",
        "日本語",
        "\u202e",
        "\ud800",
        "A" * 300,
        "B" * 100_000,
        "--out",
        "-1",
        "'",
        '"',
    ]
)
scalars = st.one_of(numbers, floats, strange_floats, texts, st.none(), st.booleans())


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


values = st.one_of(
    scalars,
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(["x", "key", "digest", "format", "seed", ""]), scalars, max_size=3),
    st.sampled_from([[], {}, [[]], [{}], {"x": {}}, [None], [0] * 1000]),
    st.builds(_nested, st.sampled_from([50, 400])),
)
"""Of JSON, plain types."""


def paths_of(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [here]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += paths_of(value, (*here, key))
    return found


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A document with one place changed; a change to `MISSING` takes it away."""
    if not path:
        return change(document)
    copied = dict(document) if isinstance(document, dict) else list(document)
    value = changed(copied[path[0]], path[1:], change)
    if value is MISSING:
        del copied[path[0]]
    else:
        copied[path[0]] = value
    return copied


MISSING = object()

json_damage = st.tuples(
    st.integers(0, 10**6),
    st.one_of(
        st.tuples(st.just("value"), values),
        st.tuples(st.just("missing"), st.none()),
        st.tuples(st.just("extra"), values),
        st.tuples(st.just("text"), st.none()),
        st.tuples(st.just("wrapped"), st.none()),
        st.tuples(st.just("whole"), values),
        st.tuples(
            st.just("raw"),
            st.sampled_from(
                [
                    "",
                    " ",
                    "{",
                    "[",
                    "}",
                    "nul",
                    "\0",
                    "\ufeff{}",
                    '{"a":1}{',
                    "NaN",
                    "-Infinity",
                    "1e999",
                    HUGE,
                    f"[{HUGE}]",
                    "[" * 100_000,
                    '{"a":' * 50_000,
                    '"\\ud800"',
                    "'x'",
                    "{'a': 1}",
                    '{"a": 1, "a": 2}',
                    "// c\n{}",
                ]
            ),
        ),
    ),
)
"""Where (a number of a place) and what happens there."""


def damaged_json(text: str, damage: tuple[int, tuple[str, Any]]) -> bytes:
    """The text of a document after one change."""
    where, (how, value) = damage
    if how == "raw":
        return value.encode(errors="surrogatepass")
    document = json.loads(text)
    places = paths_of(document)
    path = () if how == "whole" else places[where % len(places)]
    changes: dict[str, Callable[[Any], Any]] = {
        "value": lambda _: value,
        "whole": lambda _: value,
        "missing": lambda old: MISSING if path else old,
        "extra": lambda old: {**old, "extra": value} if isinstance(old, dict) else value,
        "text": json.dumps,
        "wrapped": lambda old: [old],
    }
    return json.dumps(changed(document, path, changes[how])).encode(errors="surrogatepass")


byte_damage = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "zero", "double", "append", "start", "replace"]),
    st.floats(0, 1),
    st.binary(min_size=1, max_size=8),
)


def damaged_bytes(content: bytes, damage: tuple[str, float, bytes]) -> bytes:
    """A file after one accident; `damage` has what, where as a fraction of its length, and with which bytes."""
    how, where, junk = damage
    place = min(int(where * len(content)), max(0, len(content) - 1))
    end = min(place + len(junk), len(content))
    return {
        "flip": content[:place]
        + bytes(b ^ (j or 1) for b, j in zip(content[place:end], junk, strict=False))
        + content[end:],
        "cut": content[:place],
        "insert": content[:place] + junk + content[place:],
        "zero": content[:place] + bytes(len(content) - place),
        "double": content + content,
        "append": content + junk,
        "start": content[place:],
        "replace": junk,
    }[how]
