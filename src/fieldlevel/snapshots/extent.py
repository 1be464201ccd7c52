"""Whether the positions of a snapshot can be those of its box, judged by short stretches spread over each kind.

Gas and dark matter fill the box of a whole snapshot. Stars and black holes need not, but where a unit is wrong they all
lie at the origin. In a cut-out the kinds lie at the same place.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.snapshots.parts import REMEDY_OF_EXTENT, Part, kind_of_group

Positions = npt.NDArray[np.floating[Any]]

_SAMPLES, _SAMPLED_TOGETHER = 16, 256
_FEWEST_TO_JUDGE, _FEWEST_TO_PLACE = 33, 5
_FILLING = ("gas", "dark matter")
_LEAST_OF_A_KIND = 0.2
"""Of the box, along each axis, that gas fills, and dark matter."""
_CORNER = 1e-2
"""Of the box: where all particles lie whose unit is wrong by a thousand, or by more than a hundred."""


class Sampled(Protocol):
    """What positions can be read from."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Where the particles are."""
        ...

    def read_slice(self, part: Part, which: slice, quantities: Sequence[str], /) -> dict[str, npt.NDArray[Any]]:
        """Read some particles of one part."""
        ...


def sample_positions(snapshot: Sampled) -> dict[str, Positions]:
    """Positions in Mpc/h of some particles of each type, by the name of their group."""
    samples: dict[str, list[Positions]] = {}
    for group in dict.fromkeys(part.group for part in snapshot.parts):
        parts = [part for part in snapshot.parts if part.group == group]
        ends = np.cumsum([part.n for part in parts])
        for number in np.unique(np.linspace(0, ends[-1] - 1, _SAMPLES).astype(int)):
            index = int(np.searchsorted(ends, number, side="right"))
            start = int(number - ends[index]) + parts[index].n
            stretch = slice(start, min(start + _SAMPLED_TOGETHER, parts[index].n))
            samples.setdefault(group, []).append(snapshot.read_slice(parts[index], stretch, ["position"])["position"])
    return {group: np.concatenate(stretches) for group, stretches in samples.items()}


def check_extent(path: Path, samples: Mapping[str, Positions], box_size_mpc_h: float, *, is_whole: bool) -> None:
    """Refuse positions that cannot be those of the particles of a box.

    Args:
        path: of the snapshot, for errors.
        samples: as from `sample_positions`.
        box_size_mpc_h: side of the box.
        is_whole: whether the particles fill the box.

    Raises:
        DataError: all positions of a type are equal; gas or dark matter fills less than half of the box; a type lies
            at the origin, or apart from all others.
    """
    for group, sample in samples.items():
        _refuse_equal(path, group, sample)
    if is_whole:
        _refuse_partly_filled(path, samples, box_size_mpc_h)
    _refuse_apart(path, samples, box_size_mpc_h, is_whole=is_whole)


def _refuse_equal(path: Path, group: str, sample: Positions) -> None:
    is_equal = np.ptp(sample, axis=0) == 0
    if (is_equal.all() and len(sample) > 1) or (is_equal.any() and len(sample) >= _FEWEST_TO_JUDGE):
        told = "are all equal" if is_equal.all() else f"are all equal along axis {int(np.argmax(is_equal))}"
        raise DataError([f"{path}: positions of /{group} {told}; the snapshot is damaged, write it again"])


def _refuse_partly_filled(path: Path, samples: Mapping[str, Positions], side: float) -> None:
    every = list(samples.values())
    judged = [("the particles", every, np.max, side / 2)]
    for kind in _FILLING:
        of_kind = [sample for group, sample in samples.items() if kind_of_group(group) == kind]
        judged.append((f"the {kind} particles", of_kind, np.min, side * _LEAST_OF_A_KIND))
    for told, stretches, along, wanted in judged:
        if sum(map(len, stretches)) < _FEWEST_TO_JUDGE:
            continue
        extent = float(along(np.ptp(np.concatenate(stretches), axis=0)))
        if extent < wanted:
            remedy = f"{REMEDY_OF_EXTENT}; take --no-check-mass for a cut-out"
            raise DataError([f"{path}: {told} fill {extent:.4g} Mpc/h of a box of {side:.4g} Mpc/h; {remedy}"])


def _refuse_apart(path: Path, samples: Mapping[str, Positions], side: float, *, is_whole: bool) -> None:
    """Refuse a type that lies at the origin of a whole box, or away from the largest type of a cut-out."""
    largest = max(samples, key=lambda group: len(samples[group]))
    for group, sample in samples.items():
        is_at_origin = is_whole and sample.max() < _CORNER * side
        others = samples[largest]
        is_apart = (sample.max(axis=0) < others.min(axis=0)) | (sample.min(axis=0) > others.max(axis=0))
        if len(sample) >= _FEWEST_TO_PLACE and (is_at_origin or (not is_whole and is_apart.all())):
            place = f"from {sample.min():.4g} to {sample.max():.4g} Mpc/h"
            told = f"positions of /{group} are {place}, away from those of /{largest}"
            raise DataError([f"{path}: {told}; is their unit that of the others? Mend them"])
