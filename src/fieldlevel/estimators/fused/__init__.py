r"""Fused CUDA kernels for the first blocks of the moment network, where memory traffic is nearly all of the time.

Only the outputs y of the convolutions are stored: (b, H, W, C), without bias. What PyTorch keeps besides (padded,
normalised and activated copies) is computed where it is read. The next convolution reads a = lrelu(s y + t) around its
pixels, with s and t of the batch norm between (`norms`), wraps indices instead of padding, and leaves the sums of its
own y and y^2 for the batch norm that follows (`convolutions`). The bias before a batch norm cancels and its gradient is
zero; it shifts the running mean alone.

With many channels arithmetic takes longer than memory traffic: cuDNN convolves there, and each step around it is one
pass over memory (`wide`).

Backwards, the kernel that writes the gradient g = dL/d(s y + t) leaves the two sums that the batch norm needs, and its
readers compute dL/dy = A g + B y + C where they need it; the first of them stores it where the windows of the next
overlap. All sums are taken in a fixed order: a step repeats to the bit on the same device, where
`torch.backends.cudnn.deterministic` holds cuDNN to that too.

Importing this package needs no Triton, which CUDA builds of PyTorch bring with them; `stack.fused_blocks` does.
"""

from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_HAS_TRITON = find_spec("triton") is not None


def run_features(features: nn.Sequential, maps: Tensor) -> Tensor:
    """What the convolutional body makes of normalised maps, (b, 1, N, N) to (b, C, 1, 1), by kernels if they serve."""
    if not can_fuse(features, maps):
        return features(maps)  # type: ignore[no-any-return]
    from fieldlevel.estimators.fused.stack import fused_blocks  # noqa: PLC0415 (needs Triton)

    return fused_blocks(features, maps, n_blocks=_n_blocks(features))


def compile_features(features: nn.Sequential, maps: Tensor) -> None:
    """Compile, all at once, the kernels that `run_features` and its gradient will take for such maps, if any."""
    if can_fuse(features, maps):
        from fieldlevel.estimators.fused.stack import compile_blocks  # noqa: PLC0415 (needs Triton)

        compile_blocks(features, maps, n_blocks=_n_blocks(features))


def can_fuse(features: nn.Sequential, maps: Tensor) -> bool:
    """Whether `stack.fused_blocks` serves this convolutional body now.

    It needs Triton, one channel, modules as they were built or made PyTorch's own for several processes (in the mode of
    the whole, and without hooks, which would not be called), and bfloat16 autocast on a GPU that computes in it: in
    float32 PyTorch is faster. Gradients reach the parameters in training mode alone, and never the maps.
    """
    device = maps.device
    is_bfloat16 = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16
    is_native = _HAS_TRITON and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if not (is_native and is_bfloat16 and maps.shape[1] == 1):
        return False
    are_float32 = all(parameter.dtype == torch.float32 for parameter in features.parameters())
    has_gradient = torch.is_grad_enabled() and (maps.requires_grad or not features.training)
    return are_float32 and not has_gradient and are_plain(features)


def _n_blocks(features: nn.Sequential) -> int:
    """All of them, the last convolution counted as one."""
    return sum(isinstance(layer, nn.Conv2d) for layer in features.children()) // 3 + 1


def are_plain(features: nn.Sequential) -> bool:
    """Whether every module does what its kind does, and nobody listens to it."""
    return all(_is_plain(module, features.training) for module in features.modules())


def _is_plain(module: nn.Module, is_training: bool) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    if any(hooks):
        return False
    if not isinstance(module, _BatchNorm):
        return True
    is_usual = module.affine and module.track_running_stats and module.momentum is not None
    is_known = type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm)
    return is_known and module.training == is_training and is_usual
