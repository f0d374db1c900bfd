"""What the machine can do at most: named for known accelerators, else measured."""

from dataclasses import dataclass

import torch

from benchmarks.step.timing import lap

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Peaks:
    """Rates of products of matrices, and of memory."""

    source: str
    fp32: float
    """GFLOP/s."""
    tf32: float
    bf16: float
    gb_per_s: float

    def gflops(self, device: torch.device, bfloat16: bool) -> float:
        """Of convolutions as torch runs them by default: float32 on an accelerator in TF32."""
        if bfloat16:
            return self.bf16
        return self.tf32 if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else self.fp32


# Dense rates as the vendor's data sheets give them, by the name that torch reports.
_KNOWN = {
    "NVIDIA H200": (67e3, 495e3, 989e3, 4800),
    "NVIDIA H100 80GB HBM3": (67e3, 495e3, 989e3, 3350),
    "NVIDIA A100-SXM4-80GB": (19.5e3, 156e3, 312e3, 2039),
    "NVIDIA A100-SXM4-40GB": (19.5e3, 156e3, 312e3, 1555),
    "NVIDIA L4": (30.3e3, 60e3, 121e3, 300),
}


def peaks(device: torch.device, side: int) -> Peaks:
    """Of the device, measured with matrices of `side` and `side` where nobody names them."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    if name in _KNOWN:
        return Peaks(f"data sheet of {name}", *_KNOWN[name])
    fp32, bf16 = (_matmul(device, dtype, side) for dtype in (torch.float32, torch.bfloat16))
    return Peaks(f"measured, {side} x {side}", fp32, fp32, bf16, _copy(device, side))


def _matmul(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """GFLOP/s, the best of some."""
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    return 2 * side**3 / 1e6 / min(lap(lambda: a @ b, device).wall_ms for _ in range(REPEATS))


def _copy(device: torch.device, side: int) -> float:
    """GB/s read and written, the best of some; a side of 2048 gives 134 MB, more than a cache holds."""
    source = torch.zeros(8 * side, side, device=device)
    target = torch.zeros_like(source)
    return 2 * source.nbytes / 1e6 / min(lap(lambda: target.copy_(source), device).wall_ms for _ in range(REPEATS))
