"""The first look: a network of the package on the package's example maps, of its own suite and of another.

The maps are of simulations at the fiducial point that the network has never seen, so the truth is known. On the other
suite error bars may lie, and that is shown too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.first_look import draw_first_look
from fieldlevel.figures.style import save_plot
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.layout import Parameter
from fieldlevel.progress import Listener, ignore

EXAMPLES = Path(__file__).parent / "examples"
"""Holds `<suite>.npy`, maps (n, N, N) of each suite."""
NETWORK, SUITES = "MockTNG", ("MockTNG", "MockSIMBA")
"""The network, and the suites that it is asked about, its own first."""

_SHADES = " .:-=+*#%@"


@dataclass(frozen=True, eq=False)
class Demo:
    """What a network says of example maps.

    Attributes:
        network: its name.
        maps: example maps of each suite, (n, N, N).
        posteriors: of these maps.
        parameters: cosmological ones, whose fiducial values are the truth.
        is_mock: whether the network was trained on mock maps.
    """

    network: str
    maps: Mapping[str, FloatArray]
    posteriors: Mapping[str, Posterior]
    parameters: tuple[Parameter, ...]
    is_mock: bool

    def moments(self, suite: str) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations of the cosmological parameters for the maps of a suite, each (n, p)."""
        posterior = self.posteriors[suite]
        columns = [posterior.names.index(parameter.name) for parameter in self.parameters]
        return posterior.mean[:, columns], posterior.std[:, columns]

    def sigmas_off(self, suite: str) -> FloatArray:
        """By how many standard deviations means lie above the truth, the average over the maps of a suite, (p,)."""
        mean, std = self.moments(suite)
        truth = np.array([parameter.fiducial for parameter in self.parameters], float)
        found: FloatArray = ((mean - truth) / std).mean(0)
        return found


def example_maps(suite: str) -> FloatArray:
    """Example maps of a mock suite, (n, N, N) surface densities in (Msun/h)/(Mpc/h)^2."""
    maps: FloatArray = np.load(EXAMPLES / f"{suite}.npy", allow_pickle=False)
    return maps


def run_demo(out: Path, device: str = "cpu", listener: Listener = ignore) -> Demo:
    """Ask the network about the example maps, and draw its answers.

    Args:
        out: the figure, `.png` or `.pdf`.
        device: where the network runs.
        listener: told of every block of maps.
    """
    predictor: Predictor = load(find_weights(NETWORK), device)
    maps = {suite: example_maps(suite) for suite in SUITES}
    posteriors = {suite: predictor.posterior(each, listener=listener) for suite, each in maps.items()}
    found = Demo(NETWORK, maps, posteriors, predictor.layout.cosmological, predictor.is_mock)
    moments = {suite: found.moments(suite) for suite in SUITES}
    figure = draw_first_look(maps, moments, found.parameters, predictor.layout, mock=found.is_mock)
    save_plot(figure, out)
    return found


def in_characters(image: FloatArray, n_columns: int = 32) -> list[str]:
    """A map in characters, the denser the darker: lines from top to bottom, half as many as columns.

    Args:
        image: (N, N), positive; its first axis goes to the right, its second up.
        n_columns: even number of characters in a line, at most N.

    Example:
        >>> in_characters(np.array([[1.0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 9, 9]]), 4)
        ['   @', '    ']
    """
    columns, rows = (np.linspace(0, len(image), n + 1).astype(int)[:-1] for n in (n_columns, n_columns // 2))
    means = np.add.reduceat(np.add.reduceat(np.log(image), columns, axis=0), rows, axis=1)
    low, high = np.percentile(means, 2), np.percentile(means, 99)
    shade = ((means - low) / max(high - low, np.finfo(float).tiny) * len(_SHADES)).clip(0, len(_SHADES) - 1).astype(int)
    return ["".join(_SHADES[i] for i in line) for line in shade.T[::-1]]
