"""Identity of a face by dlib's recognition network (King, 2017): 128 numbers, 99.4 % on LFW.

    y = relu(conv2(relu(conv1(x))) + shortcut(x))     14 blocks, shortcut: x, or its 2 x 2 means
    distance of two faces = |f(X) - f(Y)|             below 0.6: the same person

The weights (CC0) come with the Python package face_recognition_models, which the extra `faces`
installs. They are read from dlib's own file, so that gradients reach the pixels: as a loss, beside
the metric. Where a shortcut has fewer channels or cells, the missing ones are zeros.

dlib turns and cuts each face by its landmarks. Here the face lies in the FFHQ crop already, and the
part that dlib would cut is always the same (`CHIP`), which is what a loss needs.

Shapes: B batch, R pixels of the crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import average_pool, grid_sample
from stylefeatureeditor.errors import WeightsError, check_shape
from stylefeatureeditor.metrics.perceptual import FeatureNetwork, installed_file
from stylefeatureeditor.weights.checkpoint import assign_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "face_recognition_models"
FILE = "dlib_face_recognition_resnet_model_v1.dat"
SAME_PERSON = 0.6  # the distance below which dlib's authors call two faces one person

SIDE = 150  # pixels of dlib's face chip
MEAN = (122.782, 117.001, 104.298)  # of red, green and blue in its training
CHANNELS = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)
WIDTH = 128

# Left, top, right and bottom of dlib's chip (padding 0.25) in the FFHQ crop, as parts of its side:
# the mean of 120 synthetic and 98 real faces, which differ by 0.01 and 0.03 (standard deviation).
CHIP = (0.162, 0.250, 0.849, 0.937)


class DlibIdentity(FeatureNetwork):
    """The 128 numbers of a face; frozen."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS[0], kernel_size=7, stride=2)
        before = (CHANNELS[0], *CHANNELS[:-1])
        last = len(CHANNELS) - 1  # keeps its channels, but halves the side
        self.blocks = nn.ModuleList(
            Block(old, new, halves=new != old or index == last)
            for index, (old, new) in enumerate(zip(before, CHANNELS, strict=True))
        )
        self.linear = nn.Linear(CHANNELS[-1], WIDTH, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.freeze()

    def describe(self, chips: Tensor) -> Tensor:
        """Return the numbers, (B, 128), of dlib's face chips, (B, 3, 150, 150) in [-1, 1]."""
        check_shape("chips", chips, (None, 3, SIDE, SIDE))
        x = (chips * 127.5 + 127.5 - self.mean) / 256
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2)  # (B, 32, 35, 35)
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean(dim=(2, 3)))

    def vectors(self, pixels: Tensor) -> Tensor:
        """Return the numbers, (B, 128), of faces in the FFHQ crop, (B, 3, R, R) in [-1, 1]."""
        check_shape("pixels", pixels, (None, 3, None, None))
        height, width = pixels.shape[2:]
        left, top, right, bottom = CHIP
        x = (torch.arange(SIDE, device=pixels.device) + 0.5) / SIDE
        across = (left + (right - left) * x) * 2 - 1
        down = (top + (bottom - top) * x) * 2 - 1
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1).to(pixels.dtype)
        shrink = min(height, width) * (right - left) / SIDE
        if shrink > 1:  # the mean of the cells, so that no pixel is passed over
            pixels = average_pool(pixels, max(1, round(height / shrink)))
        chips = grid_sample(pixels, grid.expand(len(pixels), -1, -1, -1), "border")
        return self.describe(chips)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the identity as unit vectors, (B, 128); `pixels` as in `vectors`."""
        return functional.normalize(self.vectors(pixels))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return dlib's distance per pair of faces, (B,); below 0.6 they are one person."""
        check_shape("second", second, tuple(first.shape))
        return (self.vectors(first) - self.vectors(second)).norm(dim=1)


class Block(nn.Module):
    """relu(conv2(relu(conv1(x))) + shortcut(x)); conv1 and the shortcut may halve the side."""

    def __init__(self, in_channels: int, out_channels: int, *, halves: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S', S'), S' = S, or S / 2 rounded by the larger summand."""
        y = self.conv2(functional.relu(self.conv1(x)))
        if self.halves:
            x = functional.avg_pool2d(x, 2)
        shape = [max(one, other) for one, other in zip(x.shape, y.shape, strict=True)]
        return functional.relu(_padded(x, shape) + _padded(y, shape))


def _padded(x: Tensor, shape: list[int]) -> Tensor:
    """Return x with zeros behind its channels, below and to the right, up to a shape."""
    _, channels, height, width = (whole - own for whole, own in zip(shape, x.shape, strict=True))
    return functional.pad(x, (0, width, 0, height, 0, channels))


def load_dlib_identity() -> DlibIdentity:
    """Return the network with the weights of the installed package.

    DependencyError if the package is not installed; WeightsError if its file is not what it should
    be.
    """
    path = installed_file(PACKAGE, FILE, "dlib's face recognition network", extra="faces")
    network = DlibIdentity()
    assign_state(network, _state(network, path), str(path))
    return network


def _state(network: DlibIdentity, path: Path) -> dict[str, Tensor]:
    """Return the state in dlib's file; factors and shifts of channels go into the convolutions."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    sizes = []
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    for name in names:
        own = network.get_parameter(f"{name}.weight")
        sizes += [(own.numel() + len(own), 1), (2 * len(own), 1)]
    tensors = _tensors(content, [*sizes, (CHANNELS[-1], WIDTH)], path)
    state = {}
    for name in names:
        shape = network.get_parameter(f"{name}.weight").shape
        values, affine = next(tensors), next(tensors)
        weight, bias = values[: -shape[0]].reshape(shape), values[-shape[0] :]
        factor, shift = affine.chunk(2)
        state[f"{name}.weight"] = weight * factor[:, None, None, None]
        state[f"{name}.bias"] = bias * factor + shift
    state["linear.weight"] = next(tensors).reshape(CHANNELS[-1], WIDTH).t().contiguous()
    return state


def _tensors(content: bytes, sizes: list[tuple[int, int]], path: Path) -> Iterator[Tensor]:
    """Yield the tensors of given (rows, columns) in the order of the file.

    dlib writes the number 2, four sizes, and float32 values; a number is the count of its bytes,
    then the bytes, lowest first.
    """
    at = 0
    for rows, columns in sizes:
        head = b"".join(_number(value) for value in (2, rows, columns, 1, 1))
        found = content.find(head, at)
        at = found + len(head) + 4 * rows * columns
        if found < 0 or at > len(content):
            raise WeightsError(f"{path} is not dlib's face recognition network, or is cut short")
        values = np.frombuffer(content, "<f4", rows * columns, found + len(head))
        yield torch.from_numpy(values.astype(np.float32))


def _number(value: int) -> bytes:
    length = (value.bit_length() + 7) // 8
    return bytes([length]) + value.to_bytes(length, "little")
