"""Are the pixels of a map file sound? One pass over a file of any size, a few numbers kept of each map."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.npy_files import MapHeader, cut_into_blocks, read_maps
from fieldlevel.data.parameter_tables import Float64Array
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.suites import has_own_seeds
from fieldlevel.wording import equal_pairs, name_some

ZERO_FIELDS = ("Mstar",)
"""Fields whose maps may be zero somewhere and are read as log10(1 + x)."""
MAY_VANISH = (*ZERO_FIELDS, "HI", "Z", "MgFe", "ne", "B")
"""Fields that may be zero somewhere: there are no stars, metals, electrons, fields or neutral gas."""

_REMEDY = "make these maps again or fetch the file again"
_DIGEST_BYTES = 16
_MOST_THREADS = 4
_SAMPLED_A_SIDE = 32


@dataclass(frozen=True, eq=False)
class PixelSurvey:
    """What one pass over a map file found.

    Attributes:
        minimum: lowest pixel of each map, NaN pixels passed over, shape (n_maps,).
        maximum: highest pixel of each map, likewise.
        mean: mean pixel of each map, NaN if it holds one.
        has_nan: whether it does.
        n_zeros: pixels of each map that are zero.
        contrast: standard deviation of log10 of some pixels of each map, NaN where one has none.
        digests: of the pixels of each map, shape (n_maps, 16), bytes.
    """

    minimum: Float64Array
    maximum: Float64Array
    mean: Float64Array
    has_nan: npt.NDArray[np.bool_]
    n_zeros: npt.NDArray[np.int64]
    contrast: Float64Array
    digests: npt.NDArray[np.uint8]

    @cached_property
    def digest(self) -> str:
        """Of all pixels, 64 hexadecimal digits."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


def survey_pixels(path: Path, header: MapHeader, listener: Listener = ignore) -> PixelSurvey:
    """Read every map of a file once, in blocks, some of them at a time.

    Args:
        path: map file.
        header: its header.
        listener: told about maps read.

    Returns:
        Extremes, means (summed in float64), digests.

    Raises:
        DataError: the file ends before its last map.
    """
    parts = []
    n_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[PixelSurvey]] = deque()
        blocks = cut_into_blocks(header)
        try:
            for first, count in blocks:
                waiting.append(pool.submit(_survey_block, path, header, first, count))
                if len(waiting) > 2 * n_threads:
                    parts.append(waiting.popleft().result())
                    listener(_progress(path, parts, header))
            while waiting:
                parts.append(waiting.popleft().result())
                listener(_progress(path, parts, header))
        finally:
            pool.shutdown(cancel_futures=True)
    return _joined(parts)


def _progress(path: Path, parts: list[PixelSurvey], header: MapHeader) -> Progress:
    return Progress(f"check {path.name}", sum(len(part.mean) for part in parts), header.shape[0], "maps")


def _survey_block(path: Path, header: MapHeader, first: int, count: int) -> PixelSurvey:
    block = read_maps(path, header, first, count)
    step = max(1, block.shape[1] // _SAMPLED_A_SIDE)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lowest, highest = np.fmin.reduce(block, (1, 2)), np.fmax.reduce(block, (1, 2))
        mean = block.mean((1, 2), dtype=np.float64)
        contrast = np.log10(block[:, ::step, ::step]).std((1, 2), dtype=np.float64)
    has_nan, n_zeros = np.isnan(mean), np.zeros(count, np.int64)
    for number in np.flatnonzero(has_nan):
        has_nan[number] = np.isnan(block[number]).any()
    for number in np.flatnonzero((lowest <= 0) & (highest >= 0)):
        n_zeros[number] = np.count_nonzero(block[number] == 0)
    digests = b"".join(hashlib.sha256(each).digest()[:_DIGEST_BYTES] for each in block)
    return PixelSurvey(
        minimum=lowest.astype(np.float64),
        maximum=highest.astype(np.float64),
        mean=mean,
        has_nan=has_nan,
        n_zeros=n_zeros,
        contrast=contrast,
        digests=np.frombuffer(digests, np.uint8).reshape(count, _DIGEST_BYTES),
    )


def _joined(parts: list[PixelSurvey]) -> PixelSurvey:
    return PixelSurvey(
        minimum=np.concatenate([part.minimum for part in parts]),
        maximum=np.concatenate([part.maximum for part in parts]),
        mean=np.concatenate([part.mean for part in parts]),
        has_nan=np.concatenate([part.has_nan for part in parts]),
        n_zeros=np.concatenate([part.n_zeros for part in parts]),
        contrast=np.concatenate([part.contrast for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
    )


def pixel_defects(
    files: SuiteFiles, survey: PixelSurvey, layout: Layout, *, may_have_gaps: bool = False
) -> Iterator[str]:
    """Name the maps whose pixels cannot be: NaN, infinite, negative, zero; and the maps that occur twice.

    Args:
        files: the suite; what `MAY_VANISH` names may be zero.
        survey: of its map file.
        layout: of its maps.
        may_have_gaps: whether the particles were drawn so that pixels of any field may stay empty.

    Yields:
        One line a kind of defect.
    """
    path, may_vanish = files.maps_path, may_have_gaps or files.field in MAY_VANISH
    found = {
        "NaN pixels": survey.has_nan,
        "infinite pixels": np.isinf(survey.minimum) | np.isinf(survey.maximum),
        "negative pixels": (survey.minimum < 0) & (survey.minimum > -np.inf),
        "pixels that are zero": (survey.n_zeros > 0) & (survey.minimum == 0) & (not may_vanish),
    }
    for what, is_wrong in found.items():
        if is_wrong.any():
            yield f"{path}: {what} in maps {name_some(np.flatnonzero(is_wrong))}; {_REMEDY}"
    if pairs := _equal_maps(files, survey, layout):
        yield f"{path}: maps {name_some(pairs)} are identical; {_REMEDY}"


def _equal_maps(files: SuiteFiles, survey: PixelSurvey, layout: Layout) -> list[str]:
    """Pairs of equal maps that ought to differ.

    Empty maps may be equal. So may maps of two simulations of one seed: a gravity-only run knows nothing of feedback.
    """
    number = np.arange(len(survey.maximum))
    compared_with = 0 * number if has_own_seeds(files.set_name) else number // layout.n_maps
    compared_with = np.where((survey.maximum == 0) & (survey.minimum == 0), -1 - number, compared_with)
    keys = zip(survey.digests, compared_with, strict=True)
    return equal_pairs([digest.tobytes() + place.tobytes() for digest, place in keys])


def zero_remark(files: SuiteFiles, survey: PixelSurvey, *, may_have_gaps: bool = False) -> str | None:
    """Say how many pixels are zero where they may be, and what follows for networks; None where none are.

    Args:
        files: the suite.
        survey: of its map file.
        may_have_gaps: as in `pixel_defects`.
    """
    n_zeros = int(survey.n_zeros.sum())
    if not n_zeros or files.field in ZERO_FIELDS or not (may_have_gaps or files.field in MAY_VANISH):
        return None
    why = "no particle reaches them" if may_have_gaps else f"{files.field} may vanish"
    maps = name_some(np.flatnonzero(survey.n_zeros))
    return (
        f"{files.maps_path}: {n_zeros} pixels are zero, in maps {maps}: {why}; "
        "networks read the logarithm of a map and cannot be trained on these"
    )
