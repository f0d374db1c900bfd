"""What a process frees, it keeps: after some steps of a training next to no page is faulted in anew."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from ats_core.heap import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 1), torch.nn.ReLU(), torch.nn.AvgPool2d(2))
images = torch.rand(5, 3, 256, 256)  # 32 channels of them are 42 MB
for step in range(16):
    if step == 8:  # until then the heap grows, now and then by a tensor
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back")
def test_steps_take_the_pages_of_the_steps_before() -> None:
    def faults(kind: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, kind], capture_output=True, check=True).stdout)

    assert faults("kept") * 10 < faults("given back")
