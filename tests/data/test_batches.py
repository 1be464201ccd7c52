import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldlevel.data.batches import BatchSampler, MapSet, load_map_set
from fieldlevel.data.normalise import Normaliser, fit_normaliser
from fieldlevel.data.suite import Suite, open_suite, split_simulations
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import Layout

MINIMA, MAXIMA = Layout().lows, Layout().highs

# Sums of 60,000 float64 values in another order.
ROUND_OFF = 1e-12
# The logarithm is taken in float32.
SINGLE = 1e-5


@pytest.fixture
def suite(write_suite) -> Suite:
    return open_suite(write_suite(n_simulations=16), "MockTNG")


@pytest.fixture
def labelled() -> MapSet:
    """Maps whose pixels are distinct within a map and whose target is the number of the map."""
    pixels = torch.arange(256.0).reshape(16, 16) / 1000
    numbers = torch.arange(20)
    return MapSet(numbers[:, None, None] + pixels, numbers[:, None].repeat(1, 6).float(), numbers)


def numbers_of(theta: torch.Tensor) -> list[int]:
    return theta[:, 0].int().tolist()


def test_normaliser_of_the_training_maps_sees_no_other_map(suite):
    train = split_simulations(16, train=0.6, validation=0.2).train
    fitted = fit_normaliser(suite, train)
    logs = np.log10(suite.maps[suite.maps_of(train)].astype(np.float64))
    assert fitted.offset == 0.0
    assert math.isclose(fitted.mean, logs.mean(), rel_tol=ROUND_OFF)
    assert math.isclose(fitted.std, logs.std(), rel_tol=ROUND_OFF)


def test_normaliser_of_the_whole_suite_is_that_of_the_released_scripts(suite):
    fitted = fit_normaliser(suite)
    logs = np.log10(suite.maps.astype(np.float64))
    assert math.isclose(fitted.mean, logs.mean(), rel_tol=ROUND_OFF)
    assert math.isclose(fitted.std, logs.std(), rel_tol=ROUND_OFF)
    assert fitted != fit_normaliser(suite, np.arange(15))


def test_normalised_training_maps_have_zero_mean_and_unit_variance(suite):
    train = np.arange(10)
    maps = load_map_set(suite, train, fit_normaliser(suite, train)).maps
    assert maps.dtype == torch.float32
    assert abs(maps.mean().item()) < SINGLE
    assert abs(maps.std(correction=0).item() - 1) < SINGLE


def test_stellar_maps_are_shifted_before_the_logarithm(write_suite):
    directory = write_suite(field="Mstar")
    path = directory / "Maps_Mstar_MockTNG_LH_z=0.00.npy"
    maps = np.load(path)
    maps[:, 3] = 0
    np.save(path, maps)
    suite = open_suite(directory, "MockTNG", "Mstar")
    normaliser = fit_normaliser(suite)
    assert normaliser.offset == 1.0
    assert math.isclose(normaliser.mean, np.log10(1 + maps.astype(np.float64)).mean(), rel_tol=ROUND_OFF)
    assert load_map_set(suite, np.arange(3), normaliser).maps.isfinite().all()


def test_maps_without_structure_cannot_be_normalised(write_suite):
    directory: Path = write_suite(field="Mgas")
    path = directory / "Maps_Mgas_MockTNG_LH_z=0.00.npy"
    np.save(path, np.ones_like(np.load(path)))
    with pytest.raises(DataError, match="are equal"):
        fit_normaliser(open_suite(directory, "MockTNG", "Mgas", check=False))


def test_map_set_holds_the_maps_and_labels_of_its_simulations_in_order(suite):
    numbers = np.array([9, 2, 14])
    normaliser = Normaliser(11.0, 0.5)
    map_set = load_map_set(suite, numbers, normaliser)
    assert map_set.n_maps == 45
    assert map_set.simulation.tolist() == [9] * 15 + [2] * 15 + [14] * 15
    expected = (np.log10(suite.maps[suite.maps_of(numbers)]) - 11.0) / 0.5
    np.testing.assert_allclose(map_set.maps.numpy(), expected, rtol=SINGLE, atol=SINGLE)
    theta = map_set.theta.numpy() * (MAXIMA - MINIMA) + MINIMA
    np.testing.assert_allclose(theta, suite.parameters[numbers].repeat(15, 0), rtol=SINGLE)


def test_map_set_may_be_stored_in_half_precision(suite):
    half = load_map_set(suite, np.arange(4), Normaliser(11.0, 0.5), dtype=torch.bfloat16)
    full = load_map_set(suite, np.arange(4), Normaliser(11.0, 0.5))
    assert half.maps.dtype == torch.bfloat16 and half.theta.dtype == torch.float32
    assert torch.equal(half.maps, full.maps.bfloat16())
    maps = BatchSampler(half, 8, "symmetries+shifts", seed=0).draw().maps
    assert maps.dtype == torch.float32


def test_simulations_that_are_not_there_are_refused(suite):
    with pytest.raises(UserError, match="no simulation 16"):
        load_map_set(suite, np.array([3, 16]), Normaliser(11.0, 0.5))


def test_loading_and_measuring_report_every_simulation(suite):
    events = []
    normaliser = fit_normaliser(suite, np.arange(5), events.append)
    load_map_set(suite, np.arange(4), normaliser, listener=events.append)
    assert [(event.done, event.total) for event in events] == [(i, 5) for i in range(1, 6)] + [
        (i, 4) for i in range(1, 5)
    ]


def test_every_map_is_drawn_once_an_epoch_and_batches_are_full(labelled):
    sampler = BatchSampler(labelled, 8, "none", seed=0)
    drawn = [number for _ in range(15) for number in numbers_of(sampler.draw()[1])]
    epochs = [drawn[i : i + 20] for i in range(0, 120, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_batch_may_be_larger_than_the_map_set(labelled):
    maps, theta, _ = BatchSampler(labelled, 50, "symmetries", seed=0).draw()
    assert maps.shape == (50, 1, 16, 16)
    assert set(Counter(numbers_of(theta)).values()) == {2, 3}


@pytest.mark.parametrize("augmentation", ["none", "symmetries", "symmetries+shifts"])
def test_labels_stay_with_their_maps_and_pixels_are_kept(labelled, augmentation):
    maps, theta, _ = BatchSampler(labelled, 20, augmentation, seed=0).draw()
    originals = labelled.maps[numbers_of(theta)]
    assert torch.equal(maps.flatten(1).sort().values, originals.flatten(1).sort().values)
    assert torch.equal(maps[:, 0], originals) == (augmentation == "none")


def test_symmetries_keep_the_corners_and_shifts_do_not(labelled):
    corners = {0, 15, 240, 255}

    def corner_pixels(augmentation):
        maps = BatchSampler(labelled, 200, augmentation, seed=0).draw().maps
        return {round(1000 * (value % 1)) for value in maps[:, 0, 0, 0].tolist()}

    assert corner_pixels("none") == {0}
    assert corner_pixels("symmetries") == corners
    assert len(corner_pixels("symmetries+shifts")) > 100


def test_each_map_of_a_batch_is_augmented_in_its_own_way(labelled):
    maps, theta, _ = BatchSampler(labelled, 400, "symmetries", seed=0).draw()
    images = (maps[:, 0] - theta[:, :1, None]).mul(1000).round()
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8


@pytest.mark.parametrize("n_before", [0, 1, 4])
def test_a_resumed_sampler_draws_the_same_batches(labelled, tmp_path, n_before):
    sampler = BatchSampler(labelled, 8, "symmetries+shifts", seed=5)
    for _ in range(n_before):
        sampler.draw()
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = [sampler.draw() for _ in range(7)]
    resumed = BatchSampler(labelled, 8, "symmetries+shifts", seed=99)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for maps, theta, _ in expected:
        again_maps, again_theta, _ = resumed.draw()
        assert torch.equal(maps, again_maps) and torch.equal(theta, again_theta)


def test_seeds_give_different_batches_and_the_global_generator_is_left_alone(labelled):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, second = (BatchSampler(labelled, 20, "none", seed=seed).draw()[1] for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(first, second)


@pytest.mark.gpu
def test_batches_are_the_same_on_the_gpu(suite):
    normaliser = Normaliser(11.0, 0.5)
    drawn = [
        BatchSampler(load_map_set(suite, np.arange(8), normaliser, device), 32, "symmetries+shifts", seed=1).draw()
        for device in ("cpu", "cuda")
    ]
    assert drawn[1][0].is_cuda and drawn[1][1].is_cuda
    torch.testing.assert_close(drawn[0][0], drawn[1][0].cpu(), rtol=SINGLE, atol=SINGLE)
    torch.testing.assert_close(drawn[0][1], drawn[1][1].cpu())
