"""What may be done to maps before anything else, as a spec, and the names that such things go by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from fieldlevel.errors import UserError, shown
from fieldlevel.options import tyro
from fieldlevel.spec_io import STRICT
from fieldlevel.spellings import name_meant, without_spaces

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

KINDS = ("none", "smoothing", "k_max", "mean map", "shuffled pixels", "random phases", "no monopole")
"""Transforms of the package (`fieldlevel.data.transformed`)."""

_REGISTERED: dict[str, "MapTransform"] = {}


@dataclass(frozen=True)
class TransformSpec:
    """What is done to a map before anything else.

    A kind may be spelled without spaces, `mean-map`, and is the same.

    Raises:
        UserError: a kind that is neither of the package nor registered.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(map(without_spaces, KINDS))}}}")] = "none"
    """smoothing: by a Gaussian; k_max: Fourier modes of the logarithm beyond it are cut; mean-map: its mean everywhere;
    shuffled-pixels: in random order; random-phases: of the Fourier modes of the logarithm; no-monopole: scaled to the
    mean density at Omega_m = 0.3."""
    scale: float = 0.0
    """Standard deviation in pixels (smoothing), wavenumber in h/Mpc (k_max)."""
    seed: int = 0
    """Of shuffles and phases, with the number of the map."""

    def __post_init__(self) -> None:
        if isinstance(self.kind, str):
            object.__setattr__(self, "kind", name_meant(self.kind, (*KINDS, *_REGISTERED)) or self.kind)
        if isinstance(self.kind, str) and self.kind not in (*KINDS, *_REGISTERED):
            allowed = ", ".join(map(repr, (*KINDS, *_REGISTERED)))
            raise UserError(f"transform.kind = {shown(self.kind)}: input should be one of {allowed}")


MapTransform = Callable[["Tensor", TransformSpec, "npt.ArrayLike"], "Tensor"]
"""Maps in physical units, (n, N, N), the spec and the numbers of the maps in their file, (n,), to maps, (n, N, N)."""


def register_transform(kind: str, transform: MapTransform) -> None:
    """Make a transform of one's own known to the specs, in this process.

    Args:
        kind: its name in `TransformSpec`.
        transform: from maps, spec and the numbers of the maps to maps; the same maps must give the same again.

    Raises:
        UserError: a name that is taken.

    Example:
        >>> register_transform("mean map", lambda maps, spec, numbers: maps)
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: transform 'mean map': known already; give another name
    """
    if kind in (*KINDS, *_REGISTERED):
        raise UserError(f"transform {kind!r}: known already; give another name")
    _REGISTERED[kind] = transform


def registered_transform(kind: str) -> MapTransform | None:
    """The transform that was registered under a name; None for those of the package."""
    return _REGISTERED.get(kind)
