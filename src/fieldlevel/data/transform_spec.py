"""What may be done to maps before anything else, as a spec."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fieldlevel.spec_io import STRICT


@dataclass(frozen=True)
class TransformSpec:
    """What is done to a map before anything else."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["none", "smoothing", "k_max", "mean map", "shuffled pixels", "random phases", "no monopole"] = "none"
    """smoothing: by a Gaussian; k_max: Fourier modes of the logarithm beyond it are cut; mean map: its mean everywhere;
    shuffled pixels: in random order; random phases: of the Fourier modes of the logarithm; no monopole: scaled to the
    mean density at Omega_m = 0.3."""
    scale: float = 0.0
    """Standard deviation in pixels (smoothing), wavenumber in h/Mpc (k_max)."""
    seed: int = 0
    """Of shuffles and phases, with the number of the map."""
