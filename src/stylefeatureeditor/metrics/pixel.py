"""Distances between images, and between sets of images, that need no network.

Pixels are (B, 3, H, W) in [-1, 1]; each image metric returns one number per image, (B,). The
structural ones compare on [0, 1], where their constants are defined.

| metric           | range      | better | protocol of the paper (Sec. 4.1)             |
|------------------|------------|--------|----------------------------------------------|
| l2               | [0, 4]     | lower  | mean squared error on [-1, 1] at 256 pixels  |
| psnr             | dB, (0, oo]| higher | not in the paper                             |
| ssim             | [-1, 1]    | higher | not in the paper                             |
| ms_ssim          | [0, 1]     | higher | on [0, 1] at 1024 pixels                     |
| frechet_distance | [0, oo)    | lower  | FID, when the statistics are of Inception    |

Resizing to the protocol's size is the caller's choice, and so is rounding to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.errors import ShapeError, check_shape

SSIM_SIDE = 11  # Wang et al. 2004: Gaussian window of 11 x 11 pixels, sigma 1.5
SSIM_SIGMA = 1.5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
# Wang, Simoncelli, Bovik 2003, from the finest scale to the coarsest.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST = (SSIM_SIDE - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1


def l2(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared error per image, (B,), in [0, 4]; lower is better."""
    _check_pair(first, second)
    return (first - second).square().mean(dim=(1, 2, 3))


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal to noise ratio per image, (B,), in dB; higher is better, infinite when equal.

    The peak is the width of [-1, 1], so the value is that of the same images on [0, 1] or 0..255.
    """
    return 10 * torch.log10(4 / l2(first, second))


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity per image, (B,), in [-1, 1]; higher is better, 1 when equal.

    Gaussian window, population covariance, and only windows that lie wholly inside the image.
    ShapeError if the images differ in shape or are smaller than the window.
    """
    _check_pair(first, second, smallest=SSIM_SIDE)
    luminance, structure = _similarity((first + 1) / 2, (second + 1) / 2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Multi-scale structural similarity per image, (B,), in [0, 1]; higher is better.

    Structure at five scales, each half the size of the one before, and luminance at the last;
    channels are averaged last. Negative similarities count as 0. ShapeError if the images differ in
    shape or are too small for five scales.
    """
    _check_pair(first, second, smallest=MS_SSIM_SMALLEST)
    x, y = (first + 1) / 2, (second + 1) / 2
    last = len(MS_SSIM_WEIGHTS) - 1
    product = torch.ones_like(x[:, :, 0, 0])  # (B, 3)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale > 0:
            x, y = _halve(x), _halve(y)
        luminance, structure = _similarity(x, y)
        similarity = luminance * structure if scale == last else structure
        product = product * similarity.mean(dim=(2, 3)).clamp(min=0) ** weight
    return product.mean(dim=1)


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """Distance between two Gaussians; lower is better, 0 when equal.

        |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 sqrt(cov1 cov2))

    The trace of the root is the sum of the singular values of sqrt(cov1) sqrt(cov2), which stays
    real and needs no regularisation when a covariance is singular. In float64.

    Means are (D,), covariances (D, D) and symmetric; the result is a float64 scalar.

    Raises:
        ShapeError: the four shapes do not fit together.
    """
    check_shape("mean1", mean1, (None,))
    size = mean1.shape[0]
    check_shape("mean2", mean2, (size,))
    check_shape("cov1", cov1, (size, size))
    check_shape("cov2", cov2, (size, size))
    mean1, cov1, mean2, cov2 = (value.double() for value in (mean1, cov1, mean2, cov2))
    shared = torch.linalg.svdvals(_root(cov1) @ _root(cov2)).sum()
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * shared
    return distance.clamp(min=0)  # rounding can leave a tiny negative number


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a covariance; negative eigenvalues are rounding and become 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps, each (B, 3, H - 10, W - 10), of images on [0, 1]."""
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x**2
    var_y = _window(y * y) - mean_y**2
    cov = _window(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    return luminance, (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)


def _window(x: Tensor) -> Tensor:
    """Gaussian mean of every window inside the image: (B, C, H, W) -> (B, C, H - 10, W - 10)."""
    offsets = torch.arange(SSIM_SIDE, dtype=x.dtype, device=x.device) - SSIM_SIDE // 2
    taps = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    taps = (taps / taps.sum()).expand(x.shape[1], 1, 1, -1)  # (C, 1, 1, 11)
    x = functional.conv2d(x, taps, groups=x.shape[1])
    return functional.conv2d(x, taps.transpose(2, 3), groups=x.shape[1])


def _halve(x: Tensor) -> Tensor:
    """Mean of 2 x 2 cells; an odd side is first repeated at its beginning."""
    height, width = x.shape[2:]
    x = functional.pad(x, (width % 2, 0, height % 2, 0), mode="replicate")
    return functional.avg_pool2d(x, 2)


def _check_pair(first: Tensor, second: Tensor, smallest: int = 1) -> None:
    check_shape("first", first, (None, 3, None, None))
    check_shape("second", second, tuple(first.shape))
    if min(first.shape[2:]) < smallest:
        raise ShapeError(
            f"this metric needs images of at least {smallest} pixels a side, got "
            f"{first.shape[3]}x{first.shape[2]}; compare larger images"
        )
