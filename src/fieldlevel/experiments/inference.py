"""Posteriors for the maps of any `.npy` file."""

from pathlib import Path

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.experiments.predictions import write_table
from fieldlevel.files import make_place_for
from fieldlevel.maps.cmd_format import read_header
from fieldlevel.parameters import (
    COSMOLOGICAL_COLUMNS,
    MAXIMA,
    MINIMA,
    MOCK_MARK,
    PARAMETER_NAMES,
    FloatArray,
    to_unit_interval,
)
from fieldlevel.progress import Listener, ignore
from fieldlevel.training.checkpoint import load
from fieldlevel.training.trained import find_weights

FAR_OUTSIDE = 0.1
"""Of the width of the prior: nearer, a mean may be outside by chance."""
LARGEST_STD = 0.5
"""Of the width of the prior: no distribution inside it has a larger one (Popoviciu's inequality)."""


def infer_file(
    weights: Path, maps_path: Path, out: Path, device: str = "auto", listener: Listener = ignore
) -> tuple[FloatArray, FloatArray, bool]:
    """Write the posterior mean and standard deviation of each parameter for each map.

    Args:
        weights: file of a trained network, or name of one that comes with the package.
        maps_path: `.npy` file of (n, N, N) surface densities in the units of the training field, or of one map, (N, N).
        out: CSV file to write: one row a map, columns `map`, `network` (the suite that it was trained on, and whether
            that is MOCK DATA), then `<name>_mean`, `<name>_std`.
        device: where the network runs.
        listener: hears of the progress.

    Returns:
        The means and standard deviations, each (n, 6), columns in the order of `PARAMETERS`, and whether the network
        was trained on mock maps.

    Raises:
        UserError: a file that cannot be read or written, or maps that the network cannot take.
    """
    weights = find_weights(weights)
    predictor, maps = load(weights, device), _open_maps(maps_path)
    if maps.shape[:1] == (0,):
        raise UserError(f"{maps_path}: has no maps; give one or more")
    make_place_for(out, maps_path, weights)
    try:
        mean, std = predictor.predict(maps, listener=listener)
    except UserError as trouble:
        raise UserError(f"{maps_path}: {trouble}") from None
    network = f"{predictor.spec.suite} ({MOCK_MARK})" if predictor.is_mock else predictor.spec.suite
    columns = [f"{name}_{moment}" for name in PARAMETER_NAMES for moment in ("mean", "std")]
    moments = np.stack([mean, std], axis=-1).reshape(len(mean), -1).astype(float).tolist()
    write_table(out, ["map", "network", *columns], ([n, network, *row] for n, row in enumerate(moments)))
    return mean, std, predictor.is_mock


def count_outside_prior(mean: FloatArray, std: FloatArray) -> int:
    """Maps whose posterior of Omega_m or sigma_8 cannot be one inside the prior.

    That is where the mean is outside by more than a tenth of the prior's width, or the standard deviation is above half
    of the width.

    Args:
        mean: posterior means, (n, 6), columns in the order of `PARAMETERS`.
        std: posterior standard deviations, likewise.
    """
    from_centre = np.abs(to_unit_interval(mean) - 0.5)
    in_widths = std / (MAXIMA - MINIMA)
    is_outside = (from_centre > 0.5 + FAR_OUTSIDE) | (in_widths > LARGEST_STD)
    return int(is_outside[:, COSMOLOGICAL_COLUMNS].any(axis=1).sum())


def _open_maps(path: Path) -> np.ndarray:
    try:
        read_header(path)
        maps = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give an .npy file of maps") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not an .npy file of numbers ({error})") from None
    return maps[np.newaxis] if maps.ndim == 2 else maps
