"""Whether an output folder holds a finished letter, and which of its files are a letter's."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from fieldlevel.errors import UserError
from fieldlevel.files import read_text, starts_with
from fieldlevel.json_files import holds_json, holds_keys, read_json_object
from fieldlevel.spec_io import from_json
from fieldlevel.study.document import FORMAT, MAIN_METRICS
from fieldlevel.study.results import TITLE

_FIGURE = re.compile(r"figures/[A-Za-z0-9_.-]*[A-Za-z0-9_-]\.(pdf|png)")


def read_finished(out: Path, key: str, *earlier: str) -> dict[str, Any] | None:
    """Contents of metrics.json if the folder holds a finished letter of this key with all its files, else None.

    Args:
        out: output folder.
        key: digest of spec and data.
        earlier: the same as earlier versions had it.
    """
    document = _read_document(out)
    if document is None or document.get("format") != FORMAT or document.get("key") not in (key, *earlier):
        return None
    figures = _figures(out, document)
    if figures is None or not _is_whole(document):
        return None
    files = [*(out / name for name in ("report.html", "report.md", "predictions.csv")), *figures]
    return document if all(file.is_file() for file in files) else None


def forget_letter(out: Path) -> None:
    """Take away the figures of an earlier letter, which may have had others, and what says that it is finished."""
    for path in _figures(out, _read_document(out) or {}) or ():
        path.unlink(missing_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)


def _figures(out: Path, document: Mapping[str, Any]) -> list[Path] | None:
    """Files of the figures that a document names; None if some are not in the folder of figures."""
    names = document.get("figures", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and _FIGURE.fullmatch(name) for name in names):
        return None
    return [out / name for name in names]


_LENIENT: dict[str, Any] = {"extra": "ignore", "allow_inf_nan": False}


@dataclass(frozen=True)
class _PairFacts:
    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    train_suite: str
    test_suite: str
    scores: dict[str, dict[str, dict[str, float | Literal["inf", "-inf", "nan"]]]]


@dataclass(frozen=True)
class _VerdictFacts:
    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    experiment: str
    outcome: str
    measured: str


@dataclass(frozen=True)
class _Document:
    """What is told of a finished letter."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    data_mark: str
    pairs: list[_PairFacts]
    verdicts: list[_VerdictFacts]


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a document holds what is told of it; one that was changed is written again."""
    try:
        known = from_json(_Document, json.dumps(document))
    except (UserError, RecursionError):
        return False
    measured = [row for pair in known.pairs for row in (list(pair.scores.values()) or [{}])]
    return all({"value", "error"} <= scores.get(key, {}).keys() for scores in measured for key in MAIN_METRICS)


def _read_document(out: Path) -> dict[str, Any] | None:
    """Contents of metrics.json; None where there is none, or a damaged one."""
    try:
        return read_json_object(out / "metrics.json")
    except UserError:
        return None


def _is_document(path: Path) -> bool:
    """Whether it is a letter's; what is no JSON, as a power failure leaves it, is one beside the runs of a letter."""
    if holds_keys(path, "title", "data_mark", "pairs"):
        return True
    return path.is_file() and (path.parent / "runs").is_dir() and not holds_json(path)


def _is_page(path: Path) -> bool:
    return starts_with(path, "<!DOCTYPE html>") and TITLE in read_text(path)


def _is_markdown(path: Path) -> bool:
    return starts_with(path, f"# {TITLE}")


def _are_predictions(path: Path) -> bool:
    return starts_with(path, "data,experiment,train_suite,", "data,train_suite,")


OURS = {
    "metrics.json": _is_document,
    "report.html": _is_page,
    "report.md": _is_markdown,
    "predictions.csv": _are_predictions,
}
"""What a letter replaces, and how it is known."""
