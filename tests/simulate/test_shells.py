"""Counts within radii against brute force, and what keeps r M(r)."""

import pytest
import torch

from fieldlevel.simulate.haloes import Haloes, Members
from fieldlevel.simulate.shells import Shells, answered, r_200

GENERATOR_SEED = 5


@pytest.fixture
def particles() -> tuple[torch.Tensor, torch.Tensor]:
    """Halo and radius of 500 particles; radii repeat, and the last of five haloes is empty."""
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    halo = torch.randint(0, 4, (500,), generator=generator)
    return halo, torch.rand(500, generator=generator).mul(50).round() / 10


def brute_force(halo, radius, of_halo, within) -> torch.Tensor:
    return ((halo == of_halo[:, None]) & (radius <= within[:, None])).sum(1)


def test_enclosed_counts_those_of_the_halo_within_the_radius(particles):
    halo, radius = particles
    shells = Shells.of(halo, radius, 5)
    assert shells.number.tolist() == [*halo.bincount().tolist(), 0]
    torch.testing.assert_close(shells.enclosed(halo, radius), brute_force(halo, radius, halo, radius))
    others = torch.arange(5).repeat(3), torch.tensor([0.0, 2.5, 1e6]).repeat_interleave(5)
    torch.testing.assert_close(shells.enclosed(*others), brute_force(halo, radius, *others))


def test_the_order_of_the_particles_does_not_matter(particles):
    halo, radius = particles
    shells = Shells.of(halo, radius, 5)
    assert torch.equal(shells.key, Shells.of(halo.flip(0), radius.flip(0), 5).key)


def one_halo(radius: torch.Tensor) -> Members:
    offset = torch.stack([radius, torch.zeros_like(radius), torch.zeros_like(radius)], dim=1)
    index = torch.arange(len(radius))
    return Members(index, torch.zeros_like(index), offset)


HALO = Haloes(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3), torch.ones(1), torch.zeros(1, 3), 64)


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_dark_matter_keeps_its_invariant(nu):
    """r' = r (M / M')^nu with ten units of mass at the centre; here the gas of the outer half falls to the centre."""
    dark, gas = (one_halo(torch.linspace(0.01, 10, n).double()) for n in (1000, 2000))
    after = torch.where(gas.offset[:, 0] > 5, 0.0, gas.offset[:, 0])
    shift = answered(dark, gas, after, haloes=HALO, baryon_fraction=0.25, nu=nu)
    radius = dark.offset[:, 0]
    M = 0.75 * 100 * radius + 0.25 * 200 * radius + 10
    fallen = 0.75 * 100 * radius + 0.25 * 200 * (radius.clamp(max=5) + 5) + 10
    expected = (M / fallen).pow(nu).clamp(min=0.5)
    torch.testing.assert_close((radius + shift[:, 0]) / radius, expected, rtol=0.01, atol=0)
    assert shift[:, 1:].abs().max() == 0


def test_dark_matter_stays_where_no_gas_has_moved():
    dark, gas = (one_halo(torch.linspace(0.01, 10, n)) for n in (100, 200))
    shift = answered(dark, gas, gas.offset.norm(dim=1), haloes=HALO, baryon_fraction=0.2, nu=1.0)
    assert shift.abs().max() == 0


def test_r_200_holds_200_times_the_critical_density():
    M = torch.tensor([1e12, 1e14]).double()
    torch.testing.assert_close(
        M / (4 / 3 * torch.pi * r_200(M) ** 3), torch.full((2,), 200 * 2.7754e11).double(), rtol=1e-3, atol=0
    )
