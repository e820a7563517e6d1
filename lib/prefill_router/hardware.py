"""What the machine can do."""

from __future__ import annotations

import torch


def native_bfloat16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 itself; where it only emulates them, float32 is faster."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(flags.get(flag) for flag in ("avx512_bf16", "amx_bf16"))
