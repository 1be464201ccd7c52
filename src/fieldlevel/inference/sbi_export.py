"""A trained network with the interface of a posterior of sbi, for its diagnostics and those of LtU-ILI.

    posterior = fieldlevel.as_sbi(fieldlevel.load("weights.safetensors"))
    samples = posterior.sample((1000,), x=maps[0])  # torch, (1000, P), physical units
    ranks, _ = sbi.diagnostics.run_sbc(theta, maps, posterior)

The data x are raw maps, (N, N) each. As with posteriors of sbi, random numbers follow `torch.manual_seed`, and a
default x may be set. Where sbi is installed the object is a `DirectPosterior` by its class, which LtU-ILI's `direct`
sampling and sbi's `get_nltp` ask for; what that class does with a neural density estimator of sbi it cannot do, and it
says so. It may be pickled, with the network in it, and is of the class that goes with the sbi of the place where it is
read, if there is one.

References:
    Tejero-Cantero et al. 2020, arXiv:2007.09114 (sbi); Ho et al. 2024, arXiv:2402.05137 (LtU-ILI).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

from fieldlevel.data.given import as_maps
from fieldlevel.errors import UserError
from fieldlevel.extras import known
from fieldlevel.inference.ensemble import Ensemble
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.predictor import Predictor
from fieldlevel.layout import Layout

_SEEDS = 1 << 31
_REMADE = ("predictor", "prior", "_known")
"""Attributes that a copy makes anew."""


class ExportedPosterior:
    """p(theta | x) of raw maps x, with the methods of sbi's posteriors; everything is float32 and on the CPU.

    Args:
        predictor: a network, or several.
    """

    def __init__(self, predictor: Predictor | Ensemble) -> None:
        self.predictor = predictor
        self.prior = prior_of(predictor.layout)
        self.device = self._device = "cpu"
        self._x: Tensor | None = None
        self._known: tuple[Tensor, Posterior] | None = None
        self.max_sampling_batch_size = 10_000

    @property
    def posterior_estimator(self) -> NoReturn:
        """There is none: what asks for it is told so in one line, what asks whether there is one (`hasattr`) hears no.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(_without_estimator("posterior_estimator"))

    @property
    def potential_fn(self) -> NoReturn:
        """As `posterior_estimator`; `potential` is there."""
        raise AttributeError(_without_estimator("potential_fn"))

    @property
    def theta_transform(self) -> NoReturn:
        """As `posterior_estimator`."""
        raise AttributeError(_without_estimator("theta_transform"))

    def map(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not to be had.

        Raises:
            NotImplementedError: always, with what to take.
        """
        raise NotImplementedError(
            "map: a network of fieldlevel gives no gradients of its density to climb; take the means of "
            "predictor.posterior(x), or of samples the one of the highest log_prob"
        )

    def leakage_correction(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not needed; errors as of `map`."""
        raise NotImplementedError(
            "leakage_correction: no probability lies outside the prior; take log_prob, which is normalised"
        )

    def to(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not to be had; errors as of `map`."""
        raise NotImplementedError(
            "to: samples and densities are on the CPU; choose where the network runs with fieldlevel.load(..., device)"
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Pickle the network, for `as_sbi`: the class of the object is made where sbi is."""
        return as_sbi, (self.predictor,), {name: value for name, value in vars(self).items() if name not in _REMADE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what was set of the posterior that was pickled, its default map among it."""
        vars(self).update(state)

    @property
    def default_x(self) -> Tensor | None:
        """The map that is meant where none is given."""
        return self._x

    @default_x.setter
    def default_x(self, x: Any) -> None:
        self.set_default_x(x)

    def set_default_x(self, x: Any) -> Self:
        """Set the map that is meant where none is given.

        Args:
            x: one raw map, (N, N) or (1, N, N).

        Returns:
            Itself.
        """
        self._x = self._one(x)
        return self

    def sample(self, sample_shape: Sequence[int] = (), x: Any = None, **_options: Any) -> Tensor:
        """Draw from the posterior of one map.

        Args:
            sample_shape: of the draws.
            x: one raw map; the default one when None.
            _options: of sbi's posteriors, such as `show_progress_bars`; they change nothing here.

        Returns:
            (*sample_shape, P), physical units, inside the prior.

        Raises:
            UserError: no map, more than one, or one that the network does not take.
        """
        return self._draw(self._one(x), sample_shape)[..., 0, :]

    def sample_batched(self, sample_shape: Sequence[int], x: Any, **_options: Any) -> Tensor:
        """Draw from the posteriors of several maps, (b, N, N): (*sample_shape, b, P)."""
        return self._draw(self._maps(x), sample_shape)

    def log_prob(self, theta: Any, x: Any = None, **_options: Any) -> Tensor:
        """Natural logarithm of the density of one map.

        Args:
            theta: in physical units, (n, P) or (P,).
            x: one raw map; the default one when None.
            _options: of sbi's posteriors; they change nothing here, as no probability lies outside the prior.

        Returns:
            (n,); minus infinity outside the prior.
        """
        points = torch.as_tensor(theta)
        found = self._posterior(self._one(x)).log_prob(points.reshape(-1, 1, points.shape[-1]))
        return torch.from_numpy(found[:, 0]).float()

    def log_prob_batched(self, theta: Any, x: Any, **_options: Any) -> Tensor:
        """Natural logarithm of the densities of b maps at theta, (n, b, P): (n, b)."""
        return torch.from_numpy(self._posterior(self._maps(x)).log_prob(theta)).float()

    def potential(self, theta: Any, x: Any = None, **_options: Any) -> Tensor:
        """The same as `log_prob`, which is normalised."""
        return self.log_prob(theta, x)

    def __repr__(self) -> str:
        return f"<posterior of sbi's kind: {', '.join(self.predictor.layout.names)}>"

    __str__ = __repr__

    def _draw(self, maps: Tensor, sample_shape: Sequence[int]) -> Tensor:
        shape = torch.Size(sample_shape)
        seed = int(torch.randint(_SEEDS, ()))
        drawn = torch.from_numpy(self._posterior(maps).sample(max(1, math.prod(shape)), seed)).float()
        return drawn[: math.prod(shape)].view(*shape, *drawn.shape[1:])

    def _posterior(self, maps: Tensor) -> Posterior:
        """That of the maps asked for last is kept: diagnostics ask for the densities of one map many times."""
        if self._known is None or not torch.equal(self._known[0], maps):
            self._known = maps.clone(), self.predictor.posterior(maps)
        return self._known[1]

    def _maps(self, x: Any) -> Tensor:
        given = as_maps(x, self.predictor.n_pixels)
        return torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given)).detach().cpu()

    def _one(self, x: Any) -> Tensor:
        if x is None and self._x is None:
            raise UserError("posterior: no map x; give x=..., or set_default_x first")
        maps = self._x if x is None else self._maps(x)
        if maps is None or len(maps) != 1:
            raise UserError(f"posterior: x holds {0 if maps is None else len(maps)} maps; give one, or sample_batched")
        return maps


def as_sbi(predictor: Predictor | Ensemble) -> Any:
    """Give a trained network the interface of a posterior of sbi.

    Args:
        predictor: a network, or several.

    Returns:
        An `ExportedPosterior`: `sample((1000,), x=...)`, `sample_batched`, `log_prob(theta, x=...)`,
        `log_prob_batched`, `potential`, `set_default_x`, `prior`. It works without sbi too.

    Raises:
        UserError: no network.

    Example:
        >>> import fieldlevel, numpy as np
        >>> posterior = as_sbi(fieldlevel.load("MockTNG", "cpu"))
        >>> posterior.sample((5,), x=np.load("examples/MockTNG.npy")[0]).shape  # doctest: +SKIP
        torch.Size([5, 6])
    """
    if not isinstance(predictor, Predictor | Ensemble):
        raise UserError(f"as_sbi: {type(predictor).__name__}; give what fieldlevel.load returns")
    posteriors = known("sbi.inference.posteriors")
    return (ExportedPosterior if posteriors is None else _of_sbi(posteriors.DirectPosterior))(predictor)


@cache
def _of_sbi(direct_posterior: type) -> type:
    """The class of exported posteriors that are sbi's by their class."""
    return type("ExportedPosterior", (ExportedPosterior, direct_posterior), {"__doc__": ExportedPosterior.__doc__})


def _without_estimator(name: str) -> str:
    return (
        f"{name}: a network of fieldlevel has no density estimator of sbi; draw with sample, sample_batched "
        "(LtU-ILI: sample_method 'direct') or by potential ('emcee')"
    )


def prior_of(layout: Layout) -> Distribution:
    """The prior of a layout in physical units: sbi's `BoxUniform`, or the same without sbi."""
    low, high = (torch.tensor(edges, dtype=torch.float32) for edges in (layout.lows, layout.highs))
    if (of_sbi := known("sbi.utils")) is not None:
        box: Distribution = of_sbi.BoxUniform(low, high)
        return box
    return Independent(Uniform(low, high), 1)
