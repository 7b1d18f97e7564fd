"""The gradients of the strided shortcut are right on every processor."""

import os
import subprocess
import sys

import pytest

HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
# A sum of n terms, in two orders, differs by at most 2 n u of the sum of their sizes: u is 2^-24.
GRADIENTS = """
import torch
from stylefeatureeditor.backbones.shortcut import Conv1x1

def gradients(layer, x, y, layout):
    layer = layer.to(memory_format=layout)
    x = x.contiguous(memory_format=layout).detach().requires_grad_()
    layer.weight.grad = None
    layer(x).backward(y.contiguous(memory_format=layout))
    return x.grad, layer.weight.grad.clone()

torch.manual_seed(0)
for channels in (3, 4, 5, 7, 8, 12, 24):
    for out in (4, 7, 8):
        layer = Conv1x1(channels, out, 2)
        x, y = torch.randn(3, channels, 9, 9), torch.randn(3, out, 5, 5)
        plain = gradients(layer, x, y, torch.contiguous_format)
        last = gradients(layer, x, y, torch.channels_last)
        layer.weight.data.abs_()
        sizes = gradients(layer, x.abs(), y.abs(), torch.contiguous_format)
        for one, other, size, terms in zip(plain, last, sizes, (out, y[:, 0].numel())):
            assert bool(((one - other).abs() <= 2 * terms * 2**-24 * size).all()), (channels, out)
"""


@pytest.mark.parametrize("held", [{}, HELD_TO_AVX2], ids=["this processor", "AVX2"])
def test_the_gradients_of_a_strided_shortcut_are_those_of_either_layout(held):
    """In a process of its own: the defect this is about ends the process, or never ends."""
    command = [sys.executable, "-c", GRADIENTS]
    ran = subprocess.run(command, env=os.environ | held, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
