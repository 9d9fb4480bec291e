"""What a device computes fastest."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def product_type(device: str) -> "torch.dtype":
    """Return the type of products that may be rounded: bfloat16 where it is fast, else float32.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    import torch

    if device == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
