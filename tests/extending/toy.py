"""Toy sizes of commands, toy labels and maps."""

import numpy as np

from fieldlevel.layout import CRITICAL_DENSITY, Layout

TOY_TRAIN = (
    *("--device", "cpu", "--split.train", "0.6", "--split.validation", "0.2", "--batch-size", "16"),
    *("--n-steps", "12", "--validate-every", "4", "--statistics-batches", "2", "--head-batches", "2"),
)
"""A training of a few steps."""
TOY_LETTER = (
    *("--device", "cpu", "--train.split.train", "0.6", "--train.split.validation", "0.2"),
    *("--train.network.hidden", "1", "--train.batch-size", "16", "--train.n-steps", "6", "--train.validate-every", "3"),
    *("--train.statistics-batches", "2", "--train.head-batches", "2", "--summary-trials", "0"),
    *("--summary.n-steps", "6", "--summary.validate-every", "3"),
)
"""A letter of networks of a few steps."""
TOY_SIMULATE = ("--device", "cpu", "--workers", "1", "--n-simulations", "2", "--n-particles", "16", "--n-mesh", "16")
TOY = {"train": TOY_TRAIN, "letter": TOY_LETTER, "simulate": (*TOY_SIMULATE, "--n-pixels", "16"), "project": ()}


def latin_hypercube(layout: Layout, n_simulations: int, seed: int) -> np.ndarray:
    """One simulation a stratum of each prior, (n, P)."""
    rng = np.random.default_rng(seed)
    strata = np.array([rng.permutation(n_simulations) for _ in layout.names]).T
    return layout.lows + (strata + 0.37) / n_simulations * (layout.highs - layout.lows)


def toy_maps(theta: np.ndarray, layout: Layout, n_pixels: int, seed: int) -> np.ndarray:
    """Lognormal maps whose slabs hold the mass of Omega_m and whose scatter grows with sigma_8."""
    each = (-1, 1, 1, 1, 1)
    Omega_m, sigma_8 = (theta[:, layout.column(name)].reshape(each) for name in ("Omega_m", "sigma_8"))
    shape = (len(theta), layout.n_axes, layout.n_slabs, n_pixels, n_pixels)
    maps = np.exp(sigma_8 * np.random.default_rng(seed).standard_normal(shape))
    mean = CRITICAL_DENSITY * layout.slab_thickness_mpc_h * Omega_m
    return (maps * mean / maps.mean((2, 3, 4), keepdims=True)).reshape(-1, n_pixels, n_pixels).astype("<f4")
