"""bfloat16 for the networks, where the hardware computes in it; float32 or more for everything that sums probabilities.

Under `torch.autocast` the attention and feature networks run in bfloat16, whose 8 bits of mantissa are enough for
activations but not for a distribution over 10,000 cells: what they return is raised at once.
"""

import torch
from torch import Tensor


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 itself, and not by a slower emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def raised(values: Tensor) -> Tensor:
    """The same values in float32, or in what they have if that is more."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast: for the few products that decide."""
    return torch.autocast(device.type, enabled=False)
