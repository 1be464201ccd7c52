"""What is done to maps before a network sees them: smoothing and cuts to train on, null tests to fail."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.data.blur import Blur
from fieldlevel.data.transform_spec import MapTransform, TransformSpec, registered_transform
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.numerics import transforms
from fieldlevel.numerics.random import uniform
from fieldlevel.own_code import told

OMEGA_M_OF_NO_MONOPOLE = 0.3
"""Whose mean density maps get in the place of their own."""

OF_LOGARITHM = ("k_max", "random phases")
"""Transforms of the logarithm of a map."""
OF_SCALE = ("smoothing", "k_max")
"""Transforms that have a scale."""
OF_SEED = ("shuffled pixels", "random phases")
"""Transforms that draw random numbers."""
_BLUR_STREAM = 90
LEAST_SMOOTHING = 0.1
"""Pixels: a narrower Gaussian leaves float32 pixels as they are."""


_USUAL = Layout()


def transform_maps(maps: Tensor, spec: TransformSpec, numbers: npt.ArrayLike, layout: Layout = _USUAL) -> Tensor:
    """Apply one transform to maps in physical units.

    Args:
        maps: (n, N, N), positive.
        spec: the transform.
        numbers: (n,) of the maps in their file; each has its own shuffle and phases, whatever stands beside it.
        layout: of the maps, whose box and slabs count.

    Returns:
        (n, N, N), positive.

    Raises:
        UserError: a scale or seed that cannot be, a cut that cuts nothing, pixels without a logarithm, or a registered
            transform that fails or makes no maps.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
        >>> transform_maps(maps, TransformSpec("mean map"), [0]).tolist()
        [[[4.0, 4.0], [4.0, 4.0]]]
    """
    check_transform(spec)
    if spec.kind == "k_max" and spec.scale >= layout.largest_wavenumber(maps.shape[-1]):
        refuse_idle_scale(spec, maps.shape[-1], layout)
    if spec.kind in OF_LOGARITHM and not (maps > 0).all():
        raise UserError(f"transform.kind = {spec.kind}: works on the logarithm, but some pixels are not positive")
    if (own := registered_transform(spec.kind)) is not None:
        return _made_by(own, maps, spec, numbers)
    seeds = (np.asarray(numbers, dtype=np.int64) + (spec.seed << 32)).tolist()
    k_max = spec.scale * layout.box_size_mpc_h / (2 * math.pi)
    apply: dict[str, Callable[[], Tensor]] = {
        "none": lambda: maps,
        "smoothing": lambda: transforms.smooth_gaussian(maps, spec.scale),
        "k_max": lambda: transforms.cut_wavenumbers(maps, k_max),
        "mean map": lambda: transforms.mean_map(maps),
        "shuffled pixels": lambda: transforms.shuffle_pixels(maps, seeds),
        "random phases": lambda: transforms.randomise_phases(maps, seeds),
        "no monopole": lambda: transforms.scale_to_mean(maps, layout.mean_density(OMEGA_M_OF_NO_MONOPOLE)),
    }
    return apply[spec.kind]()


def blur_maps(maps: Tensor, blur: Blur, numbers: npt.ArrayLike) -> Tensor:
    """Smooth each map by a Gaussian of its own, which its number draws, on whatever device and beside whatever others.

    Args:
        maps: (n, N, N).
        blur: what is drawn.
        numbers: (n,) of the maps in their file.

    Example:
        >>> import torch
        >>> maps = torch.rand(3, 8, 8)
        >>> blur_maps(maps, Blur(), [0, 1, 2]) is maps
        True
        >>> both = blur_maps(maps, Blur(1.0), [4, 5, 6])
        >>> torch.equal(both[1:2], blur_maps(maps[1:2], Blur(1.0), [5]))
        True
    """
    if not blur.most:
        return maps
    index = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
    sigma = blur.most * uniform(index, blur.whole_seed, _BLUR_STREAM)
    return transforms.smooth_gaussian(maps, sigma)


def _made_by(own: MapTransform, maps: Tensor, spec: TransformSpec, numbers: npt.ArrayLike) -> Tensor:
    """Maps of a registered transform, which may change a copy; refused where they are none."""
    named = f"transform.kind = {spec.kind}"
    with told(f"{named}: fails", "mend it, the same command continues"):
        made = own(maps.clone(), spec, numbers)
    if not isinstance(made, Tensor) or made.shape != maps.shape:
        found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise UserError(f"{named}: makes {found} of maps {tuple(maps.shape)}; it must make a tensor of as many alike")
    if not bool(made.isfinite().all()):
        raise UserError(f"{named}: makes pixels that are not finite; mend it")
    return made.to(maps, copy=True)  # its own, which maps that are kept may be


def check_transform(spec: TransformSpec) -> None:
    """Refuse what no maps can be transformed with.

    Raises:
        UserError: a scale or seed that cannot be.
    """
    if spec.kind in OF_SCALE and not 0 < spec.scale < math.inf:
        raise UserError(f"transform.scale = {spec.scale}: {spec.kind} needs a positive number")
    if not 0 <= spec.seed < 1 << 31:
        raise UserError(f"transform.seed = {spec.seed}: must be from 0 to 2^31 - 1")


def largest_wavenumber(n_pixels: int, layout: Layout = _USUAL) -> float:
    r"""Wavenumber where maps end, that of the corners of their Fourier plane.

    It is \(\sqrt 2\) times the Nyquist wavenumber \(\pi N / L\): a cut there is none.

    Args:
        n_pixels: N.
        layout: whose box has the side L.

    Returns:
        In h/Mpc.

    Example:
        >>> round(largest_wavenumber(256), 2)
        45.5
    """
    return layout.largest_wavenumber(n_pixels)


def smallest_wavenumber(layout: Layout = _USUAL) -> float:
    """Wavenumber of the longest wave of a map, one in the box; a cut below it leaves the mean alone, in h/Mpc."""
    return 2 * math.pi / layout.box_size_mpc_h


def idle_scale(spec: TransformSpec, n_pixels: int, layout: Layout = _USUAL) -> str | None:
    """Why a scale leaves maps as they are, or nothing of them, in words; None of one that does neither.

    Args:
        spec: the transform.
        n_pixels: N of the maps.
        layout: of the maps, whose box counts.

    Example:
        >>> idle_scale(TransformSpec("k_max", 0.1), 256)
        'the longest wave of a map has 0.251 h/Mpc, nothing but the mean would be left; choose a larger k_max'
    """
    scale, end, smallest = spec.scale, layout.largest_wavenumber(n_pixels), smallest_wavenumber(layout)
    size = f"maps of {n_pixels} x {n_pixels} pixels"
    if spec.kind == "k_max" and scale >= end:
        return f"{size} end at {end:.3g} h/Mpc, nothing would be cut; choose a smaller k_max"
    if spec.kind == "k_max" and scale < smallest * (1 - 1e-6):
        longest = f"the longest wave of a map has {smallest:.3g} h/Mpc"
        return f"{longest}, nothing but the mean would be left; choose a larger k_max"
    if spec.kind == "smoothing" and scale > n_pixels / 2:
        return f"of {size} nothing but the mean would be left; smooth by at most {n_pixels / 2:g} pixels"
    if spec.kind == "smoothing" and scale < LEAST_SMOOTHING:
        return f"would leave maps as they are; smooth by at least {LEAST_SMOOTHING:g} pixels"
    return None


def refuse_idle_scale(spec: TransformSpec, n_pixels: int, layout: Layout = _USUAL) -> None:
    """Refuse to train on maps that a transform leaves as they are, or nothing of; arguments as of `idle_scale`.

    Raises:
        UserError: with the scale and what is possible.
    """
    if (reason := idle_scale(spec, n_pixels, layout)) is not None:
        raise UserError(f"transform.scale = {spec.scale:g}: {reason}")
