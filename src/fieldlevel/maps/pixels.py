"""Are the pixels of a map file sound? One pass over a file of any size, a few numbers kept of each map."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.maps.cmd_format import (
    Float64Array,
    MapHeader,
    SuiteFiles,
    read_header,
    read_maps,
    stream_maps,
)
from fieldlevel.maps.wording import equal_pairs, name_some
from fieldlevel.parameters import MAPS_PER_SIMULATION
from fieldlevel.progress import Listener, Progress, ignore

ZERO_FIELDS = ("Mstar",)
"""Fields with maps that may be zero somewhere."""
_OWN_SEED_SETS = r"LH|CV|SB\d+"
"""Sets in which no two simulations share their seed."""

_REMEDY = "make these maps again or fetch the file again"


@dataclass(frozen=True, eq=False)
class PixelSurvey:
    """What one pass over a map file found.

    Attributes:
        minimum: lowest pixel of each map, NaN pixels passed over, shape (n_maps,).
        maximum: highest pixel of each map, likewise.
        mean: mean pixel of each map, NaN if it holds one.
        has_nan: whether it does.
    """

    minimum: Float64Array
    maximum: Float64Array
    mean: Float64Array
    has_nan: npt.NDArray[np.bool_]


def survey_pixels(path: Path, header: MapHeader, listener: Listener = ignore) -> PixelSurvey:
    """Read every map of a file once, in blocks.

    Args:
        path: map file.
        header: its header.
        listener: told about maps read.

    Returns:
        Extremes and means (summed in float64).
    """
    n_maps = header.shape[0]
    statistics = np.empty((4, n_maps))
    for first, block in stream_maps(path, header):
        done = first + len(block)
        with np.errstate(invalid="ignore"):
            lowest, highest = np.fmin.reduce(block, (1, 2)), np.fmax.reduce(block, (1, 2))
            mean, has_nan = block.mean((1, 2), dtype=np.float64), np.isnan(block.min((1, 2)))
        statistics[:, first:done] = lowest, highest, mean, has_nan
        listener(Progress(f"check {path.name}", done, n_maps, "maps"))
    minimum, maximum, mean, has_nan = statistics
    return PixelSurvey(minimum, maximum, mean, has_nan > 0)


def pixel_defects(files: SuiteFiles, survey: PixelSurvey) -> Iterator[str]:
    """Name the maps whose pixels cannot be: NaN, infinite, without a logarithm; and the maps that occur twice.

    Args:
        files: the suite; stellar mass may vanish.
        survey: of its map file.

    Yields:
        One line a kind of defect.
    """
    path, may_vanish = files.maps_path, files.field in ZERO_FIELDS
    found = {
        "NaN pixels": survey.has_nan,
        "infinite pixels": np.isinf(survey.minimum) | np.isinf(survey.maximum),
        "negative pixels": (survey.minimum < 0) & (survey.minimum > -np.inf),
        "pixels that are zero": (survey.minimum == 0) & (not may_vanish),
    }
    for what, is_wrong in found.items():
        if is_wrong.any():
            yield f"{path}: {what} in maps {name_some(np.flatnonzero(is_wrong))}; {_REMEDY}"
    if pairs := _equal_maps(files, survey):
        yield f"{path}: maps {name_some(pairs)} are identical; {_REMEDY}"


def _equal_maps(files: SuiteFiles, survey: PixelSurvey) -> list[str]:
    """Pairs of equal maps that ought to differ; only those whose extremes are equal are read again.

    Empty maps may be equal. So may maps of two simulations of one seed: a gravity-only run knows nothing of feedback.
    """
    number = np.arange(len(survey.maximum))
    compared_with = 0 * number if re.fullmatch(_OWN_SEED_SETS, files.set_name) else number // MAPS_PER_SIMULATION
    compared_with = np.where(survey.maximum == 0, -1 - number, compared_with)
    keys = [row.tobytes() for row in np.column_stack([survey.minimum, survey.maximum, compared_with])]
    count = Counter(keys)
    header = read_header(files.maps_path)

    def whole_key(number: int, key: bytes) -> bytes:
        return key + _digest(files.maps_path, header, number) if count[key] > 1 else key

    return equal_pairs([whole_key(number, key) for number, key in enumerate(keys)])


def _digest(path: Path, header: MapHeader, number: int) -> bytes:
    return hashlib.blake2b(read_maps(path, header, number, 1).tobytes(), digest_size=16).digest()
