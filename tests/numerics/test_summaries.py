import pytest
import torch

from fieldlevel.numerics.summaries import SUMMARIES


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(1)) + 0.1


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_is_one_row_a_map_whatever_stands_beside_it(maps, name):
    rows = SUMMARIES[name](maps)
    assert rows.shape[0] == 5
    assert rows.dtype == torch.float32
    torch.testing.assert_close(SUMMARIES[name](maps[2:3]), rows[2:3])


def test_the_power_spectrum_does_not_know_the_mean(maps):
    torch.testing.assert_close(SUMMARIES["power spectrum"](7 * maps), SUMMARIES["power spectrum"](maps))


def test_the_one_point_distribution_does_not_know_the_places(maps):
    shuffled = maps.flatten(1)[:, torch.randperm(256, generator=torch.Generator().manual_seed(2))].view(5, 16, 16)
    torch.testing.assert_close(SUMMARIES["one-point PDF"](shuffled), SUMMARIES["one-point PDF"](maps))
    torch.testing.assert_close(SUMMARIES["one-point PDF"](10 * maps), SUMMARIES["one-point PDF"](maps) + 1)


def test_quantiles_of_known_pixels():
    """Pixels 10^0 ... 10^255: quantile p is at p times 255."""
    maps = torch.logspace(0, 255, 256, dtype=torch.float64).view(1, 16, 16)
    expected = (torch.arange(64) + 0.5) / 64 * 255
    torch.testing.assert_close(SUMMARIES["one-point PDF"](maps)[0], expected)
