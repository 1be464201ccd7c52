"""A body, a head and penalties as somebody might bring them: no module here knows how it is trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fieldlevel.training.penalty import Penalty


class Body(nn.Module):
    """Reads maps or summaries; with both kinds of batch norm, dropout, a buffer of integers and a tied weight."""

    def __init__(self, shape: tuple[int, ...], n_features: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.fold = nn.Identity() if len(shape) == 3 else nn.Unflatten(2, (1, -1))
        self.convolution = nn.Conv2d(shape[0], 3, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(6, n_features)
        self.again = nn.Linear(n_features, n_features)
        self.once_more = nn.Linear(n_features, n_features)
        self.once_more.weight = self.again.weight
        self.last_norm = nn.BatchNorm1d(n_features)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("order", torch.arange(n_features))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.norm(self.convolution(self.fold(x))))
        x = functional.leaky_relu(self.linear(torch.cat([x.mean((2, 3)), x.square().mean((2, 3))], 1)))
        x = self.last_norm(self.once_more(functional.leaky_relu(self.again(x))))
        return self.dropout(x)[:, self.order]


class Deep(nn.Module):
    """Has weights of five axes, for which there is no order of channels last."""

    def __init__(self, shape: tuple[int, ...], n_features: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(shape[0], n_features, (1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.convolution(x[:, :, None])).mean((2, 3, 4))


class GaussianHead(nn.Module):
    """Minus the logarithm of a Gaussian; its loss is a mean over maps and then over outputs."""

    def __init__(self, n_features: int, n_outputs: int, n_hidden: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh(), nn.Linear(n_hidden, 2 * n_outputs))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)

    def sums(self, answer: Tensor, theta: Tensor) -> Tensor:
        known = ~theta.isnan()
        mean, log_std = answer.float().chunk(2, 1)
        error = (theta.where(known, mean.detach()) - mean) * (-log_std).exp()
        return torch.stack([((error.square() / 2 + log_std) * known).sum(0), known.sum(0)])

    def loss(self, sums: Tensor) -> Tensor:
        return (sums[0] / sums[1].clamp(min=1)).mean()

    def posterior(self, answer: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = answer.float().chunk(2, 1)
        return mean, log_std.exp()


class HeadWithNorm(GaussianHead):
    """Its statistics too are those of many batches in the end."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__(n_features, n_outputs)
        self.norm = nn.BatchNorm1d(n_features)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(self.norm(features))


class MeanDistance(Penalty):
    """Squared distance of the mean features of two sources."""

    def __init__(self, n_features: int, n_sources: int, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        first, second = (features[source == number].mean(0) for number in (0, 1))
        return self.weight * (first - second).square().sum()


class Critic(Penalty):
    """Learns to tell the sources by the features, which learn to prevent it; counts its steps."""

    def __init__(self, n_features: int, n_sources: int, weight: float = 0.5, method: str = "Adam") -> None:
        super().__init__()
        self.weight = weight
        self.layers = nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, n_sources))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))
        self.optimisers = [getattr(torch.optim, method)(self.layers.parameters(), lr=1e-2)]

    def cross_entropy(self, features: Tensor, source: Tensor) -> Tensor:
        return functional.cross_entropy(self.layers(features), source)

    def update(self, features: Tensor, source: Tensor, theta: Tensor) -> None:
        assert not features.requires_grad
        self.optimisers[0].zero_grad()
        self.cross_entropy(features, source).backward()
        self.optimisers[0].step()
        self.n_steps += 1

    def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        return -self.weight * self.cross_entropy(features, source)
