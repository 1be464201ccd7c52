"""Types of NumPy arrays that many modules speak of, and what somebody gives as one."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]


def as_array(values: Any) -> npt.NDArray[Any]:
    """An array of what somebody gives: an array, a list, or a tensor of PyTorch on any device.

    Example:
        >>> import torch
        >>> as_array(torch.ones(2, requires_grad=True)), as_array([1, 2])
        (array([1., 1.], dtype=float32), array([1, 2]))
    """
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
