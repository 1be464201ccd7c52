import pytest
import torch

from fieldlevel.numerics.mesh import paint_cic
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.feedback import BARYON_MODELS, Feedback
from fieldlevel.simulate.haloes import find_haloes
from fieldlevel.simulate.nbody import Particles

BOX = 25.0


@pytest.fixture(params=sorted(BARYON_MODELS))
def model(request):
    return BARYON_MODELS[request.param]


def density(species, n_mesh: int) -> torch.Tensor:
    return sum(kind.mass * paint_cic(kind.position, n_mesh) for kind in species.values())


def test_mass_and_number_are_conserved(model, today, fiducial):
    species = model(today, fiducial, Feedback(), 1, BOX)
    n = len(today.position)
    assert len(species["Mcdm"].position) == n
    assert len(species["Mgas"].position) + len(species["Mstar"].position) == n
    total = sum(len(kind.position) * kind.mass for kind in species.values())
    assert total == pytest.approx(n, rel=1e-12)
    assert species["Mgas"].mass == species["Mstar"].mass == pytest.approx(0.049 / 0.3)


def test_stars_are_few_but_there(model, today, fiducial):
    stars = model(today, fiducial, Feedback(), 1, BOX)["Mstar"]
    assert 0.001 < len(stars.position) / len(today.position) < 0.1


def test_power_is_suppressed_on_small_scales_only(model, today, fiducial):
    before = power_spectrum_3d(paint_cic(today.position, 64))[1]
    after = power_spectrum_3d(density(model(today, fiducial, Feedback(), 1, BOX), 64))[1]
    ratio = after / before
    assert 0.9 < ratio[0] < 1.02
    assert 0.6 < ratio[12:20].mean() < 0.97


def test_stronger_agn_feedback_suppresses_more(model, today, fiducial):
    powers = [
        power_spectrum_3d(density(model(today, fiducial, Feedback(A_AGN2=A), 1, BOX), 64))[1][4:12].mean()
        for A in (0.5, 1.0, 2.0)
    ]
    assert powers[0] > powers[1] > powers[2]


def test_a_seed_fixes_the_outcome(model, today, fiducial):
    first, second = (model(today, fiducial, Feedback(), 9, BOX) for _ in range(2))
    for name in first:
        assert torch.equal(first[name].position, second[name].position)


def test_periodic_images_change_nothing(model, today, fiducial):
    """Particles that left the box are the same particles one period away."""
    shifted = Particles(today.position + 3 * today.n_mesh, today.velocity, today.n_mesh)
    plain = density(model(today, fiducial, Feedback(), 1, BOX), 64)
    moved = density(model(shifted, fiducial, Feedback(), 1, BOX), 64)
    assert (plain - moved).abs().mean() < 0.02 * plain.mean()


def cluster(centre: list[float], n: int, seed: int) -> torch.Tensor:
    offset = 0.8 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(centre) + offset


def test_haloes_of_planted_clusters_are_found_across_the_edge():
    n_mesh = 32
    field = n_mesh * torch.rand(4000, 3, generator=torch.Generator().manual_seed(8))
    position = torch.cat([cluster([31.8, 16.0, 0.1], 3000, 1), cluster([16.0, 16.0, 16.0], 1500, 2), field])
    spin = torch.zeros_like(position)
    spin[:3000, 1] = position[:3000, 0] - 31.8
    spin[:3000, 0] = -(position[:3000, 1] - 16.0)
    haloes = find_haloes(Particles(position, spin, n_mesh), sigma=0.5, threshold=20.0)
    masses = haloes.n_particles.sort(descending=True).values
    assert 2000 < masses[0] <= 3100
    assert 800 < masses[1] <= 1600
    largest = haloes.n_particles.argmax()
    members = haloes.halo == largest
    centre = (position[haloes.member] - haloes.offset)[members]
    distance = centre - torch.tensor([31.8, 16.0, 0.1])
    distance -= n_mesh * (distance / n_mesh).round()
    assert distance.abs().max() < 0.3
    assert haloes.offset.abs().max() < 6
    assert haloes.spin_axis[largest, 2] > 0.95
