"""Numbers that stay with a particle: the identifiers of a snapshot."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.snapshots.hdf5_files import find_member, open_hdf5
from fieldlevel.snapshots.parts import Part, check_shape, find_dataset
from fieldlevel.snapshots.snapshot import Snapshot

_NAMES = ("ParticleIDs", "ParticleID")


def particle_numbers(snapshot: Snapshot, kind: str) -> npt.NDArray[np.int64]:
    """A number for each particle of a kind, in the order of `Snapshot.read`.

    Args:
        snapshot: opened.
        kind: of the particles.

    Returns:
        (n,) the identifiers, which do not depend on the order of the particles; where there are none, or two particles
        share one, places in that order.

    Raises:
        DataError: identifiers that are not one a particle.
    """
    stored = [_identifiers(part) for part in snapshot.parts if part.kind == kind]
    numbers = [each for each in stored if each is not None]
    if len(numbers) == len(stored) > 0:
        joined = np.concatenate(numbers)
        if len(np.unique(joined)) == len(joined):
            return joined
    return np.arange(snapshot.n_particles.get(kind, 0), dtype=np.int64)


def _identifiers(part: Part) -> npt.NDArray[np.int64] | None:
    with open_hdf5(part.file) as file:
        dataset = find_dataset(find_member(file, part.group), _NAMES)
        if dataset is None or dataset.dtype.kind not in "iu":
            return None
        check_shape(dataset, part, ())
        identifiers: npt.NDArray[Any] = dataset[:]
    return identifiers.astype(np.uint64).view(np.int64)
