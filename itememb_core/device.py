"""Which device computes, with how many threads, and what it computes fastest."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> str:
    """Return where models are fitted: ``cuda`` where torch finds one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def threads() -> int:
    """Return the number of threads of this process's numeric work, as torch has it."""
    import torch

    return torch.get_num_threads()


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
