"""The suppression of the power spectrum in CAMELS that the mock suites are calibrated to: suppression/README.md."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent / "suppression"
TABLE_OF = {"MockTNG": "IllustrisTNG", "MockSIMBA": "SIMBA", "MockAstrid": "Astrid", "MockEAGLE": "EAGLE"}
LARGEST_K_H_MPC = 20.0

FloatArray = npt.NDArray[np.float64]
Cases = dict[str, list[tuple[FloatArray, FloatArray]]]


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
