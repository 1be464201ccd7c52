r"""Background, growth to second order and linear power of a flat universe of matter and a cosmological constant.

The growth factors solve, with x = ln a and primes for d/dx,

    D'' + (2 + dlnH/dx) D' = 3/2 Om(a) D,        E'' + (2 + dlnH/dx) E' = 3/2 Om(a) (E - D^2),

and start from the Einstein-de Sitter limits D = a, E = -3/7 D^2. Both are scaled so that D(a=1) = 1.

The linear power is P(k) = A k^n_s T(k; Omega_m)^2 with A fixed by sigma_8 at z = 0. T comes from CAMB for the CAMELS
cosmology (Omega_b = 0.049, h = 0.6711, n_s = 0.9624, N_eff = 3.046, massless neutrinos), tabulated by
`scripts/make_transfer_table.py`; between its nodes P is right to 7e-4.

References:
    Bouchet et al. 1995, A&A 296, 575 (second-order growth); Lewis, Challinor & Lasenby 2000, ApJ 538, 473 (CAMB);
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (the cosmology of CAMELS).
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline, RectBivariateSpline

FloatArray = npt.NDArray[np.float64]

OMEGA_B = 0.049
N_S = 0.9624


@dataclass(frozen=True)
class Cosmology:
    """A flat LambdaCDM universe with the fixed parameters of CAMELS.

    Attributes:
        Omega_m: matter density today over critical, within [0.1, 0.5].
        sigma_8: linear rms overdensity in spheres of 8 Mpc/h today.
    """

    Omega_m: float
    sigma_8: float

    @property
    def baryon_fraction(self) -> float:
        """Omega_b / Omega_m."""
        return OMEGA_B / self.Omega_m


def hubble_rate(a: FloatArray | float, Omega_m: float) -> FloatArray:
    """H(a) / H_0 of a flat universe of matter and a cosmological constant."""
    return np.sqrt(Omega_m / np.asarray(a) ** 3 + 1 - Omega_m)


def matter_fraction(a: FloatArray | float, Omega_m: float) -> FloatArray:
    """Omega_m(a), the matter density over the critical density at expansion factor a."""
    return Omega_m / np.asarray(a) ** 3 / hubble_rate(a, Omega_m) ** 2


@dataclass(frozen=True)
class Growth:
    """Growth factors and their logarithmic slopes as functions of the expansion factor.

    Attributes:
        Omega_m: matter density today over critical.
    """

    Omega_m: float

    def D(self, a: FloatArray | float) -> FloatArray:
        """First-order growth factor, one today."""
        return np.asarray(_growth_splines(self.Omega_m)[0](np.log(a)))

    def dD_da(self, a: FloatArray | float) -> FloatArray:
        """Derivative of the first-order growth factor with the expansion factor."""
        return np.asarray(_growth_splines(self.Omega_m)[0](np.log(a), 1) / a)

    def E(self, a: FloatArray | float) -> FloatArray:
        """Second-order growth factor, close to -3/7 D^2."""
        return np.asarray(_growth_splines(self.Omega_m)[1](np.log(a)))

    def dE_dD(self, a: FloatArray | float) -> FloatArray:
        """Derivative of the second-order growth factor with the first-order one."""
        first, second = _growth_splines(self.Omega_m)
        return np.asarray(second(np.log(a), 1) / first(np.log(a), 1))


@lru_cache(maxsize=64)
def _growth_splines(Omega_m: float) -> tuple[CubicHermiteSpline, CubicHermiteSpline]:
    def slopes(x: float, y: FloatArray) -> list[float]:
        D, dD, E, dE = y
        fraction = float(matter_fraction(np.exp(x), Omega_m))
        friction = 2 - 1.5 * fraction
        return [dD, 1.5 * fraction * D - friction * dD, dE, 1.5 * fraction * (E - D * D) - friction * dE]

    a_early = 1e-3
    x = np.linspace(np.log(a_early), 0.0, 1025)
    start = [a_early, a_early, -3 / 7 * a_early**2, -6 / 7 * a_early**2]
    D, dD, E, dE = solve_ivp(slopes, (x[0], 0.0), start, t_eval=x, rtol=1e-10, atol=1e-14).y
    today = D[-1]
    return CubicHermiteSpline(x, D / today, dD / today), CubicHermiteSpline(x, E / today**2, dE / today**2)


def linear_power(k_h_mpc: FloatArray, cosmology: Cosmology) -> FloatArray:
    """Linear matter power spectrum at z = 0.

    Args:
        k_h_mpc: wavenumbers within [1e-4, 200] h/Mpc.
        cosmology: Omega_m and sigma_8.

    Returns:
        P(k) in (Mpc/h)^3, the shape of `k_h_mpc`.

    Example:
        >>> power = linear_power(np.array([0.1, 1.0]), Cosmology(Omega_m=0.3, sigma_8=0.8))
        >>> bool(power[0] > power[1] > 0)
        True
    """
    amplitude = (cosmology.sigma_8 / sigma_tophat(8.0, cosmology.Omega_m)) ** 2
    return amplitude * _unnormalised_power(np.asarray(k_h_mpc, dtype=np.float64), cosmology.Omega_m)


def sigma_tophat(radius_mpc_h: float, Omega_m: float) -> float:
    """Rms overdensity in spheres for the unnormalised linear power, so that ratios of it normalise to sigma_8."""
    ln_k = np.linspace(np.log(1e-4), np.log(100.0), 4096)
    k = np.exp(ln_k)
    x = k * radius_mpc_h
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return float(np.sqrt(np.trapezoid(_unnormalised_power(k, Omega_m) * window**2 * k**3, ln_k) / (2 * np.pi**2)))


def _unnormalised_power(k: FloatArray, Omega_m: float) -> FloatArray:
    log_transfer = _transfer_spline()(np.log(Omega_m), np.log(k).ravel())[0].reshape(k.shape)
    return np.asarray(k**N_S * np.exp(2 * log_transfer))


@lru_cache(maxsize=1)
def _transfer_spline() -> RectBivariateSpline:
    path = resources.files("fieldlevel.numerics") / "transfer.npz"
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        axes = (np.log(table[name].astype(np.float64)) for name in ("Omega_m", "k_h_mpc"))
        return RectBivariateSpline(*axes, table["log_transfer"].astype(np.float64))
