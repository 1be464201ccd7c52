"""How the standard deviations of a trained network are made honest, in a small file beside its weights.

`<weights stem>.calibration.json` holds the rescaling of each parameter (`statistics.rescaling`), fitted on simulations
that the network was neither trained nor chosen nor tested on, what else became seen by that, and the error bars for
maps of another suite (`inference.transfer_errors`) where they were measured. It belongs to the network whose checksum
it names, and a digest of its content tells whether anybody changed it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fieldlevel.data.seen import SeenSource, source_in_file
from fieldlevel.errors import UserError
from fieldlevel.files import read_text
from fieldlevel.inference.transfer_errors import TransferErrors
from fieldlevel.json_files import holds_keys, write_json
from fieldlevel.locks import refuse_foreign
from fieldlevel.spec_io import STRICT, from_json
from fieldlevel.statistics.rescaling import Rescaling

SUFFIX = ".calibration.json"
_REMEDY = "take it away and calibrate the network again"


@dataclass(frozen=True)
class Calibration:
    """What is known of the errors of one network.

    Attributes:
        weights: checksum of the network's file.
        names: of its outputs, (P,).
        rescaling: of their standard deviations.
        fitted_on: suite and set of the simulations that it was fitted on; empty where it is none.
        n_simulations: as many as it was fitted on.
        sources: what else than its file tells the network has seen, by being calibrated.
        transfer: error bars for maps of another suite; None where they were not measured.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    weights: str
    names: tuple[str, ...]
    rescaling: Rescaling
    fitted_on: tuple[str, ...]
    n_simulations: int
    sources: tuple[SeenSource, ...] = ()
    transfer: TransferErrors | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if len(self.rescaling.coefficients) != n or (self.transfer is not None and len(self.transfer.tau) != n):
            raise ValueError(f"coefficients of other parameters than {', '.join(self.names[:20])}")

    def __repr__(self) -> str:
        fitted = (
            f"fitted on {self.n_simulations} simulations of {' '.join(self.fitted_on)}" if self.fitted_on else "none"
        )
        other = ", errors on other suites measured" if self.transfer is not None else ""
        return f"<Calibration of {', '.join(self.names[:8])}{', ...' * (len(self.names) > 8)}: {fitted}{other}>"

    @property
    def is_fitted(self) -> bool:
        """Whether standard deviations were compared with errors, also where nothing had to be changed."""
        return bool(self.fitted_on)


@dataclass(frozen=True)
class _Kept(Calibration):
    """A calibration as it stands in its file.

    Attributes:
        digest: of all the rest, thirty-two hexadecimal digits.
    """

    digest: str = dataclasses.field(kw_only=True)

    @property
    def calibration(self) -> Calibration:
        """Without its digest."""
        names = [each.name for each in dataclasses.fields(Calibration)]
        return Calibration(**{name: getattr(self, name) for name in names})


def calibration_path(weights: Path) -> Path:
    """Where the calibration of a network lies.

    Example:
        >>> calibration_path(Path("network/weights.safetensors")).as_posix()
        'network/weights.calibration.json'
    """
    return weights.with_name(f"{weights.stem}{SUFFIX}")


def find_calibration(weights: Path) -> Path | None:
    """The file beside some weights, if there is one."""
    path = calibration_path(weights)
    return path if path.exists() else None


def read_calibration(weights: Path, checksum: str, names: Sequence[str]) -> Calibration | None:
    """The calibration beside some weights; None where there is none.

    Args:
        weights: the weights file.
        checksum: of the network.
        names: of its outputs.

    Raises:
        UserError: it is damaged or was changed, or that of another network.
    """
    if (path := find_calibration(weights)) is None:
        return None
    try:
        kept = from_json(_Kept, read_text(path, _REMEDY))
    except UserError as error:
        raise UserError(f"{path}: no calibration ({error}); {_REMEDY}") from None
    found = kept.calibration
    if kept.digest != _digest(found):
        raise UserError(f"{path}: its digest is another, a part of it was changed; {_REMEDY}")
    if found.weights != checksum or found.names != tuple(names):
        raise UserError(f"{path}: of another network than {weights.name}; {_REMEDY}")
    return found


def write_calibration(weights: Path, calibration: Calibration) -> Path:
    """Write the calibration of a network beside its weights; one that is there is replaced.

    Raises:
        UserError: a file of that name that is no calibration.
    """
    path = calibration_path(weights)
    refuse_foreign(path.parent, {path.name: _is_calibration})
    seen = {"sources": [source_in_file(source) for source in calibration.sources]}
    write_json(path, dataclasses.asdict(calibration) | seen | {"digest": _digest(calibration)})
    return path


def _digest(calibration: Calibration) -> str:
    """Of what a file would give back, so that 0 and 0.0 are one."""
    read_back = from_json(Calibration, json.dumps(dataclasses.asdict(calibration)))
    text = json.dumps(dataclasses.asdict(read_back), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def forget_calibration(weights: Path) -> None:
    """Take away the calibration that an earlier network of that name had.

    Raises:
        UserError: a file of that name that is no calibration.
    """
    path = calibration_path(weights)
    refuse_foreign(path.parent, {path.name: _is_calibration})
    path.unlink(missing_ok=True)


def copy_calibration(calibration: Calibration | None, weights: Path, checksum: str) -> None:
    """Give the calibration of a network to the same network in another file, or none where it has none.

    Args:
        calibration: of the original.
        weights: the other file.
        checksum: of the network in it.
    """
    if calibration is None:
        forget_calibration(weights)
    else:
        write_calibration(weights, dataclasses.replace(calibration, weights=checksum))


def _is_calibration(path: Path) -> bool:
    return holds_keys(path, "weights", "rescaling", "fitted_on")
