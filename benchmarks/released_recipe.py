"""The released training recipe of the CAMELS Multifield Dataset, written anew from its description, to measure against.

Plain eager PyTorch in float32 and NCHW: `nn.Conv2d(padding_mode="circular")`, all eight symmetries of every map as
copies in memory, batches drawn from them by index, AdamW, a cyclic learning rate stepped after every batch. The layers
bear the names of `MomentNetwork`, so that each loads the weights of the other. TF32 is off and cuDNN tries its
algorithms out while `exact_float32(benchmark=True)` is entered. No worker process loads batches: the recipe loses no
time to that.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (dataset and scripts), arXiv:2109.10360 (loss).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError
from fieldlevel.numerics.transforms import N_SYMMETRIES, apply_symmetry
from fieldlevel.progress import Listener, Progress
from fieldlevel.training.state import REPORT_EVERY
from fieldlevel.training.train_spec import TrainSpec

LOWEST_RATE = 1e-9
CYCLE_HALF = 500
"""Steps from the lowest learning rate to the highest, and back."""
STEPS_IN_EPOCH = 141
"""Batches between two shuffles of the copies."""
SHARE_OF_DEVICE = 0.6
"""Of the free memory of the device that copies may take."""


class ReleasedNetwork(nn.Module):
    """The network "o3_err" of layers that PyTorch has.

    Args:
        n_pixels: pixels a side, a power of two of at least 16.
        hidden: width h; blocks have 2h, 4h, 8h, ... channels.
        dropout: dropout probability before both linear layers.
        n_parameters: parameters to infer.
    """

    def __init__(self, n_pixels: int, hidden: int, dropout: float, n_parameters: int = 6) -> None:
        super().__init__()
        self.n_parameters = n_parameters
        self.features = _features(n_pixels, hidden)
        width = hidden * n_pixels // 2
        layers = (nn.Dropout(dropout), nn.Linear(width, width // 2), nn.LeakyReLU(0.2))
        last = (nn.Dropout(dropout), nn.Linear(width // 2, 2 * n_parameters))
        self.head = nn.Sequential(OrderedDict(zip(("D1", "FC1", "A1", "D2", "FC2"), layers + last, strict=True)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation of normalised maps, (b, 1, N, N) to twice (b, P)."""
        outputs = self.head(self.features(x).flatten(1))
        return outputs[:, : self.n_parameters], outputs[:, self.n_parameters :].square()


def _features(n_pixels: int, hidden: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    n_blocks = n_pixels.bit_length() - 3
    width = 1
    for block in range(n_blocks):
        wider = 2 * hidden << block
        layers[f"C{block}1"] = nn.Conv2d(width, wider, 3, padding=1, padding_mode="circular")
        if block > 0:
            layers[f"B{block}1"] = nn.BatchNorm2d(wider)
        layers[f"A{block}1"] = nn.LeakyReLU(0.2)
        layers[f"C{block}2"] = nn.Conv2d(wider, wider, 3, padding=1, padding_mode="circular")
        layers |= {f"B{block}2": nn.BatchNorm2d(wider), f"A{block}2": nn.LeakyReLU(0.2)}
        layers[f"C{block}3"] = nn.Conv2d(wider, wider, 2, stride=2)
        layers |= {f"B{block}3": nn.BatchNorm2d(wider), f"A{block}3": nn.LeakyReLU(0.2)}
        width = wider
    layers[f"C{n_blocks}1"] = nn.Conv2d(width, 2 * width, 4)
    layers |= {f"B{n_blocks}1": nn.BatchNorm2d(2 * width), f"A{n_blocks}1": nn.LeakyReLU(0.2)}
    return nn.Sequential(layers)


def released_loss(mean: Tensor, std: Tensor, theta: Tensor) -> Tensor:
    """The letter's loss with means over the batch in place of sums, and a mean over the parameters."""
    error = (theta - mean).square()
    return (error.mean(0).log() + (error - std.square()).square().mean(0).log()).mean()


class ReleasedRecipe:
    """A network while it learns by the released recipe.

    Args:
        spec: its network, optimiser, batch size and seed are taken, nothing else.
        training: maps to train on; its device is the one that computes.

    Attributes:
        network: in training mode.
        maps: every symmetry of every map, (8 n, N, N); on the device if they fit there.
        theta: their targets, (8 n, P).
        step_number: steps done.

    Raises:
        UserError: a batch of more maps than there are copies.
    """

    def __init__(self, spec: TrainSpec, training: MapSet) -> None:
        if spec.batch_size > N_SYMMETRIES * training.n_maps:
            raise UserError(
                f"batch_size = {spec.batch_size}: there are {N_SYMMETRIES * training.n_maps} copies of maps"
            )
        self.spec = spec
        self.device = training.maps.device
        n_parameters = training.theta.shape[1]
        self.network = ReleasedNetwork(
            training.maps.shape[-1], spec.network.hidden, spec.network.dropout, n_parameters
        ).to(self.device)
        self.maps = _copies(training.maps)
        self.theta = training.theta.repeat(N_SYMMETRIES, 1)
        highest, betas = spec.optimiser.learning_rate, (spec.optimiser.beta1, spec.optimiser.beta2)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=highest, betas=betas, weight_decay=spec.optimiser.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CyclicLR(
            self.optimiser, LOWEST_RATE, highest, CYCLE_HALF, CYCLE_HALF, cycle_momentum=False
        )
        self.step_number = 0
        self._generator = torch.Generator().manual_seed(spec.seed)
        self._order = torch.empty(0, dtype=torch.int64)

    def take_step(self) -> Tensor:
        """Train on the next batch; returns its loss, which stays on the device."""
        maps, theta = self.draw()
        self.optimiser.zero_grad()
        mean, std = self.network(maps)
        loss = released_loss(mean, std, theta)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        self.step_number += 1
        return loss.detach()

    @torch.inference_mode()
    def validation_loss(self, validation: MapSet) -> float:
        """Loss of all symmetries of every map, in evaluation mode."""
        size = max(1, self.spec.batch_size // N_SYMMETRIES)
        chunks = [slice(start, start + size) for start in range(0, validation.n_maps, size)]
        self.network.eval()
        mean, std = map(torch.cat, zip(*(self.network(validation.views(chunk)) for chunk in chunks), strict=True))
        self.network.train()
        theta = torch.cat([validation.theta[chunk].repeat(N_SYMMETRIES, 1) for chunk in chunks])
        return released_loss(mean, std, theta).item()

    def draw(self) -> tuple[Tensor, Tensor]:
        """The next batch on the device that computes, (b, 1, N, N), and its targets, (b, P)."""
        numbers = self._draw_numbers()
        maps = self.maps[numbers]
        if maps.device != self.device:
            maps = maps.pin_memory().to(self.device, non_blocking=True)
        return maps.unsqueeze(1), self.theta[numbers.to(self.device)]

    def _draw_numbers(self) -> Tensor:
        """Of the copies in the next batch; what is left over at the end of an epoch is dropped."""
        size = self.spec.batch_size
        place = self.step_number % min(STEPS_IN_EPOCH, len(self.maps) // size)
        if place == 0:
            self._order = torch.randperm(len(self.maps), generator=self._generator).to(self.maps.device)
        return self._order[place * size : (place + 1) * size]


def _copies(maps: Tensor) -> Tensor:
    """All symmetries of maps, (n, N, N) to (8 n, N, N), made one by one: together they need twice the memory."""
    copies = torch.empty((N_SYMMETRIES, *maps.shape), device=_home(maps))
    for index, copy in enumerate(copies):
        copy.copy_(apply_symmetry(maps, index))
    return copies.flatten(0, 1)


def _home(maps: Tensor) -> torch.device:
    """Where the copies live: with the maps if there is room, else in the memory of the CPU."""
    if maps.device.type == "cpu":
        return maps.device
    free, _ = torch.cuda.mem_get_info(maps.device)
    fits = N_SYMMETRIES * maps.numel() * torch.float32.itemsize < SHARE_OF_DEVICE * free
    return maps.device if fits else torch.device("cpu")


def train_released(recipe: ReleasedRecipe, n_steps: int, listener: Listener) -> None:
    """Take steps; the loss is looked at as often as `TrainingState` does."""
    for _ in range(n_steps):
        loss = recipe.take_step()
        if recipe.step_number % REPORT_EVERY == 0:
            listener(Progress("released", recipe.step_number, n_steps, "steps", f"loss {loss.item():.2f}"))
