"""Networks that come with the package, asked for by name instead of by the path of a weights file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fieldlevel.errors import UserError
from fieldlevel.suites import MOCK_MARK, is_mock

FOLDER = Path(__file__).parents[1] / "trained"
"""Holds one `<name>.safetensors` a network."""

SUFFIX = ".safetensors"
IN_RUN = f"weights{SUFFIX}"
"""Name of the weights in the folder of a run."""
TRUST_ENDING = f".trust{SUFFIX}"
"""Of what tells maps like those of a network's training from others (`inference.trust`), beside its weights."""


def trained_names() -> list[str]:
    """Names of the networks that come with the package, in alphabetical order.

    Example:
        >>> "MockTNG" in trained_names()
        True
    """
    found = FOLDER.glob(f"*{SUFFIX}")
    return sorted(path.stem for path in found if not path.name.endswith(TRUST_ENDING))


def find_weights(weights: str | Path) -> Path:
    """The weights file that a user means: a path is taken as it is, a bare name is looked up in the package.

    A name is bare if it has neither a separator nor a suffix. A file or folder that has a bare name is meant by it; a
    folder of a run stands for the weights in it.

    Args:
        weights: path of a weights file, which need not exist, or of the folder of a run, or name of a network that
            comes with the package.

    Raises:
        UserError: a bare name that is neither there nor in the package, with the names that are.
    """
    if not isinstance(weights, str | Path):
        raise UserError(f"weights of type {type(weights).__name__}: give the path or the name of a network")
    path = Path(weights)
    if path.name != os.fspath(weights) or path.suffix or os.path.lexists(path):
        return path / IN_RUN if os.path.isfile(path / IN_RUN) else path  # noqa: PTH113 (false of impossible names)
    names = trained_names()
    if path.name not in names:
        known = ", ".join(names) or "none does"
        raise UserError(f"{path}: no such file, and no network of that name comes with fieldlevel ({known})")
    return FOLDER / f"{path.name}{SUFFIX}"


def refuse_disguised_mock(path: Path, suite: str, provenance: Mapping[str, Any]) -> None:
    """Refuse weights under the name of another suite whose data are those of a mock network of the package.

    Args:
        path: of the weights, for the message.
        suite: that they claim.
        provenance: that they carry.

    Raises:
        UserError: with the suite of the data.
    """
    fingerprint = provenance.get("data_fingerprint")
    if is_mock(suite) or fingerprint is None:
        return
    for name in trained_names():
        if is_mock(name) and fingerprint == _fingerprint(FOLDER / f"{name}{SUFFIX}"):
            raise UserError(f"{path}: claims suite {suite}, but was trained on {name} ({MOCK_MARK}); not believed")


def _fingerprint(path: Path) -> object:
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads(file.metadata()["provenance"]).get("data_fingerprint")
    except (OSError, LookupError, TypeError, ValueError, SafetensorError):
        return None
