import numpy as np
import pytest

from fieldlevel.numerics.cosmology import Cosmology, Growth, linear_power, matter_fraction


@pytest.mark.parametrize(("Omega_m", "half"), [(0.3, 0.611806), (0.1, 0.728760), (0.5, 0.560766)])
def test_growth_at_half_the_expansion(Omega_m, half):
    assert Growth(Omega_m).D(0.5) == pytest.approx(half, abs=2e-6)


def test_growth_agrees_with_the_heath_integral():
    """D ~ H(a) int da / (a H)^3 holds for matter and a cosmological constant (Heath 1977)."""
    a, Omega_m = np.linspace(1e-6, 1, 200_001), 0.3
    hubble = np.sqrt(Omega_m / a**3 + 1 - Omega_m)
    integral = np.concatenate(
        [[0], np.cumsum(0.5 * np.diff(a) * (((a * hubble) ** -3)[1:] + ((a * hubble) ** -3)[:-1]))]
    )
    D = hubble * integral
    places = [20_000, 100_000, 160_000]
    np.testing.assert_allclose(Growth(Omega_m).D(a[places]), D[places] / D[-1], rtol=1e-5)


def test_early_growth_is_that_of_einstein_de_sitter():
    growth, a = Growth(0.3), 0.01
    assert growth.E(a) / growth.D(a) ** 2 == pytest.approx(-3 / 7, rel=1e-4)
    assert growth.dE_dD(a) / growth.D(a) == pytest.approx(-6 / 7, rel=1e-4)
    assert growth.dD_da(a) / (growth.D(a) / a) == pytest.approx(1, rel=1e-4)


def test_matter_fraction_today_is_omega_m():
    assert matter_fraction(1.0, 0.27) == pytest.approx(0.27)


@pytest.mark.parametrize("Omega_m", [0.1, 0.3, 0.5])
def test_sigma_8_of_the_linear_power(Omega_m):
    k = np.geomspace(1e-4, 100, 20_000)
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    power = linear_power(k, Cosmology(Omega_m, 0.83))
    assert np.sqrt(np.trapezoid(power * window**2 * k**3, np.log(k)) / (2 * np.pi**2)) == pytest.approx(0.83, rel=1e-4)


def test_linear_power_scales_with_sigma_8_squared_and_turns_over():
    k = np.geomspace(1e-3, 10, 200)
    low, high = (linear_power(k, Cosmology(0.3, sigma_8)) for sigma_8 in (0.6, 0.9))
    np.testing.assert_allclose(high / low, 2.25, rtol=1e-12)
    assert 0.01 < k[low.argmax()] < 0.03
