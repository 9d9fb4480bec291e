"""What the machine's processor computes fastest."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def has_fast_bfloat16() -> bool:
    """Whether products in bfloat16 are faster than in float32 on this machine."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def product_type() -> "torch.dtype":
    """Return the type of products that may be rounded: bfloat16 where it is fast, else float32."""
    import torch

    return torch.bfloat16 if has_fast_bfloat16() else torch.float32
