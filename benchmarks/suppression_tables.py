"""The suppression of the power spectrum in CAMELS that the mock suites are calibrated to: suppression/README.md."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent / "suppression"
TABLE_OF = {"MockTNG": "IllustrisTNG", "MockSIMBA": "SIMBA", "MockAstrid": "Astrid", "MockEAGLE": "EAGLE"}
LARGEST_K_H_MPC = 20.0
N_ROWS = 1000
"""Of the latin hypercube of each table."""
FIRST_FITTED_ROW, FIRST_VALIDATION_ROW = 1, 12
MOST_CALIBRATION_ROWS = 64
"""Of either kind that a calibration may take, so that some are left that none has taken."""

FloatArray = npt.NDArray[np.float64]
Cases = dict[str, list[tuple[FloatArray, FloatArray]]]


@cache
def read_suppression(suite: str) -> tuple[FloatArray, Cases]:
    """Wavenumbers up to 20 h/Mpc and, for every case, its (parameters, S) rows."""
    with (FOLDER / f"suppression_{TABLE_OF[suite]}.csv").open() as file:
        header, *rows = csv.reader(file)
    k = np.array([float(name.removeprefix("S_k")) for name in header[7:]])
    k = k[k <= LARGEST_K_H_MPC]
    cases: Cases = {}
    for row in rows:
        values = np.array(row[1:], dtype=float)
        cases.setdefault(row[0], []).append((values[:6], values[6 : 6 + len(k)]))
    return k, cases


def read_error(suite: str, n_k: int) -> FloatArray:
    """Error of S at the first wavenumbers of `read_suppression`."""
    table = np.loadtxt(FOLDER / f"error_{TABLE_OF[suite]}.csv", delimiter=",", skiprows=1)
    return np.asarray(table[:n_k, 1])


def spread_rows(first: int, count: int) -> list[int]:
    """Numbers of latin-hypercube rows spread over the table: what a calibration takes.

    Example:
        >>> spread_rows(FIRST_FITTED_ROW, 4)
        [1, 251, 501, 751]
    """
    return [first + N_ROWS // count * i for i in range(count)]


def uncalibrated_rows(count: int) -> list[int]:
    """Numbers of latin-hypercube rows spread over those that no calibration takes, however many it takes."""
    taken = {
        row
        for first in (FIRST_FITTED_ROW, FIRST_VALIDATION_ROW)
        for many in range(1, MOST_CALIBRATION_ROWS + 1)
        for row in spread_rows(first, many)
    }
    left = [row for row in range(N_ROWS) if row not in taken]
    return [left[len(left) // count * i] for i in range(count)]
