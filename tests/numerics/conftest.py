import pytest
import torch


@pytest.fixture
def discs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    positions = 32 * (3 * torch.rand(400, 2, generator=generator) - 1)
    return positions, 6 * torch.rand(400, generator=generator) ** 3, torch.rand(400, generator=generator)
