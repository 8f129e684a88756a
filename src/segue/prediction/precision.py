"""The arithmetic of forward passes: bfloat16 where the device has it."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "bfloat16", "float32"]


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Public since PyTorch 2.9; older ones answer for AVX-512 alone.
        if (capabilities := getattr(torch.cpu, "get_capabilities", None)) is not None:
            return any(capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context for forward passes: bfloat16 if it is asked for, or `auto` and the device has it."""
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
