from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def no_tf32() -> Iterator[None]:
    """PyTorch multiplies in float32 as well, not in TF32, and repeats to the bit."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def bfloat16_products(monkeypatch) -> None:
    """The interpreter multiplies the bits of bfloat16 as if they were integers; here it multiplies the numbers."""
    if torch.cuda.is_available():
        return
    from triton.language import bfloat16, float32  # noqa: PLC0415
    from triton.runtime.interpreter import InterpreterBuilder  # noqa: PLC0415

    multiply = InterpreterBuilder.create_dot

    def create_dot(builder, a, b, *others):
        a, b = (builder.cast_impl(x, float32) if x.dtype.scalar == bfloat16 else x for x in (a, b))
        return multiply(builder, a, b, *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
