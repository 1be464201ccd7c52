"""Gas quantities: known answers, and laws that tie them to each other."""

import numpy as np
import pytest

from fieldlevel.snapshots.quantities import (
    BOLTZMANN,
    HYDROGEN_FRACTION,
    METALLICITY_FLOOR,
    PROTON_MASS,
    QUANTITIES,
    electron_density,
    field_strength,
    metallicity,
    neutral_hydrogen_mass,
    pressure,
    temperature,
)

ENERGY = np.array([50.0, 1e3, 4e5])
ELECTRONS = np.array([0.0, 0.5, 1.158])
DENSITY = np.array([1e9, 1e12, 1e16])


def test_temperature_is_that_of_the_helium_form():
    y = 0.0789  # helium nuclei per hydrogen nucleus, the form in which CMD has it
    expected = ENERGY * (1 + 4 * y) / (1 + y + ELECTRONS) * 1e10 * (2 / 3) * PROTON_MASS / BOLTZMANN
    np.testing.assert_allclose(temperature(ENERGY, ELECTRONS), expected, rtol=2e-4)


def test_a_gas_of_ten_thousand_kelvin():
    assert temperature(np.array([100.0]), np.array([0.0]))[0] == pytest.approx(9.85e3, rel=2e-3)


def test_pressure_is_that_of_the_ideal_gas():
    msun_mpc3, kpc_pressure = 1.989e33 / 3.085678e24**3, 1.989e33 * 1e10 / 3.085678e21**3
    mu = 4 / (1 + 3 * HYDROGEN_FRACTION + 4 * HYDROGEN_FRACTION * ELECTRONS)
    particles = DENSITY * msun_mpc3 / (mu * PROTON_MASS)
    ideal = particles * BOLTZMANN * temperature(ENERGY, ELECTRONS)
    np.testing.assert_allclose(pressure(ENERGY, DENSITY) * kpc_pressure, ideal, rtol=1e-12)


def test_mean_electron_density_of_the_universe():
    baryons = np.array([0.0490 * 2.775e11])
    fully_ionised = 1 + 0.24 / 0.76 / 2
    # 1.88e-29 h^2 g/cm^3 * Omega_b / m_p * (1 - Y/2)
    expected = 1.878e-29 * 0.0490 / 1.6726e-24 * 0.88
    assert electron_density(baryons, np.array([fully_ionised]))[0] == pytest.approx(expected, rel=2e-3)


def test_star_forming_gas_has_no_electrons():
    plain = electron_density(DENSITY, ELECTRONS)
    masked = electron_density(DENSITY, ELECTRONS, np.array([0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(masked, [plain[0], plain[1], 0.0])


def test_neutral_hydrogen_is_at_most_all_hydrogen():
    np.testing.assert_allclose(neutral_hydrogen_mass(np.array([0.0, 1.0]), np.array([2.0, 2.0])), [0.0, 1.52])


def test_metallicity_of_one_column_and_of_many():
    table = np.array([[0.02, 0.25, 0.01], [0.0, 0.24, 0.0]])
    np.testing.assert_allclose(metallicity(table), [0.02 + METALLICITY_FLOOR, METALLICITY_FLOOR])
    np.testing.assert_array_equal(metallicity(table[:, 0]), table[:, 0])


def test_field_strength_has_no_direction():
    np.testing.assert_allclose(field_strength(np.array([[3.0, 4.0, 0.0], [0.0, 0.0, -2.0]])), [5.0, 2.0])


@pytest.mark.parametrize("formula", [temperature, pressure, electron_density, neutral_hydrogen_mass])
def test_single_precision_stays_single(formula):
    values = formula(ENERGY.astype(np.float32), DENSITY.astype(np.float32))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_every_recipe_takes_as_many_arrays_as_its_formula():
    for recipes in QUANTITIES.values():
        for recipe in recipes:
            values = recipe.formula(*(np.ones((2, 3)) if len(recipe.blocks) == 1 else np.ones(2),) * len(recipe.blocks))
            assert len(values) == 2
