"""The heap of the C library, in processes that run networks on a CPU."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's numbers (mallopt(3))


def keep_freed_memory() -> None:
    """Keep what is freed for the next tensors, to the end of the process.

    glibc returns each freed block of 32 MB and more to the kernel, which clears every page of the next one: up to half
    of the CPU time of a step (`python -m benchmarks.step`, table of the heap). The price is memory: what is kept lies
    in pieces, so that large models hold more than they need. Where the C library is another, nothing happens.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
