"""Make `src/fieldlevel/numerics/transfer.npz`: ln T(k; Omega_m) of the CAMELS cosmology, from CAMB.

Run it where CAMB is installed (`pip install camb`); the package itself only reads the table.

    python scripts/make_transfer_table.py
"""

from pathlib import Path

import camb
import numpy as np
from scipy.interpolate import RectBivariateSpline

TARGET = Path(__file__).parents[1] / "src/fieldlevel/numerics/transfer.npz"
H, OMEGA_B, N_S, N_EFF = 0.6711, 0.049, 0.9624, 3.046


def matter_power(Omega_m: float, k_h_mpc: np.ndarray) -> np.ndarray:
    """Linear matter power of the CAMELS cosmology at z = 0, any normalisation."""
    model = camb.CAMBparams()
    model.set_cosmology(
        H0=100 * H, ombh2=OMEGA_B * H**2, omch2=(Omega_m - OMEGA_B) * H**2, mnu=0.0, nnu=N_EFF, num_massive_neutrinos=0
    )
    model.InitPower.set_params(ns=N_S, As=2e-9)
    model.set_matter_power(redshifts=[0.0], kmax=float(k_h_mpc[-1]) * 1.2)
    power = camb.get_matter_power_interpolator(
        model, nonlinear=False, hubble_units=True, k_hunit=True, kmax=k_h_mpc[-1] * 1.1
    )
    return np.asarray(power.P(0.0, k_h_mpc))


def main() -> None:
    """Tabulate 17 values of Omega_m and 200 wavenumbers; state the error halfway between the nodes."""
    k = np.concatenate([np.geomspace(1e-4, 0.01, 25)[:-1], np.geomspace(0.01, 1, 141)[:-1], np.geomspace(1, 200, 36)])
    Omega_m = np.geomspace(0.1, 0.5, 17)

    def log_transfer(value: float, wavenumbers: np.ndarray) -> np.ndarray:
        power = matter_power(value, np.append(k[:1], wavenumbers)) / np.append(k[:1], wavenumbers) ** N_S
        return 0.5 * np.log(power[1:] / power[0])

    table = np.array([log_transfer(value, k) for value in Omega_m])
    columns = {"k_h_mpc": k, "Omega_m": Omega_m, "log_transfer": table}
    np.savez(TARGET, **{name: column.astype(np.float32) for name, column in columns.items()})
    between = np.sqrt(k[1:] * k[:-1])[::8]
    between = between[between < 100]
    spline = RectBivariateSpline(np.log(Omega_m), np.log(k), table.astype(np.float32))
    worst = max(
        np.abs(2 * (spline(np.log(value), np.log(between))[0] - log_transfer(value, between))).max()
        for value in np.sqrt(Omega_m[1:] * Omega_m[:-1])[::4]
    )
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes, largest error of ln P between the nodes {worst:.1e}")


if __name__ == "__main__":
    main()
