"""Losses of both phases that need no pretrained network (App. 7 of the paper).

    L_reg = 0.01 ||F_k||_2          the paper              feature_norm
            0.01 mean((F_k - F_w)^2)  the release          feature_distance
            0.01 mean(|F_k - F_w|)    its other form feature_l1
    adv   = softplus(-D(X^))                               generator_loss
    L_D   = (softplus(-D(X)) + softplus(D(X^))) / 2        discriminator_loss
            + r1 / 2 ||dD / dX||^2, lazily                 r1_penalty, lazy_r1
    L_path = (||J_w^T y||_2 - a)^2   training G only       path_length_penalty

L_im without adv is in `image_losses.py`; LPIPS and the identity losses are in
`metrics/perceptual.py`. Every loss is a scalar tensor, a mean over the batch.

Shapes: B batch, C channels and S side of the features, N styles, D width of a style, R pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError, check_shape


@dataclass(frozen=True, kw_only=True)
class R1Config:
    """Gradient penalty on D; the defaults are the release's (the paper names none).

    Attributes:
        weight: gamma; the penalty enters as gamma / 2 * ||dD / dX||^2.
        every: steps between two penalties, each counted `every` times.
    """

    weight: float = 10.0
    every: int = 16

    def __post_init__(self) -> None:
        if self.weight < 0 or self.every < 1:
            raise ConfigError(f"weight cannot be negative and every must be at least 1: {self}")


def l2_loss(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape."""
    check_shape("second", second, tuple(first.shape))
    return (first - second).square().mean()


def feature_norm(features: Tensor) -> Tensor:
    """||F_k||_2, the paper's regulariser: the norm of each image's features (B, C, S, S), averaged.

    It grows with the square root of C S S.
    """
    return features.flatten(1).norm(dim=1).mean()


def feature_distance(features: Tensor, from_codes: Tensor) -> Tensor:
    """MSE(F_k, F_w), the release's regulariser: features against those that w alone gives."""
    return l2_loss(features, from_codes)


def feature_l1(features: Tensor, from_codes: Tensor) -> Tensor:
    """Mean |F_k - F_w|, the release's other form of it."""
    check_shape("from_codes", from_codes, tuple(features.shape))
    return (features - from_codes).abs().mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating adversarial loss, softplus(-D(X^)): small when D takes X^ for a photo."""
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(softplus(-D(X)) + softplus(D(X^))) / 2: small when D tells photos from drawn images."""
    real = functional.softplus(-real_logits).mean()
    fake = functional.softplus(fake_logits).mean()
    return (real + fake) / 2


def r1_penalty(real_logits: Tensor, photos: Tensor) -> Tensor:
    """Mean over the batch of ||dD / dX||^2 at the photos (Mescheder et al., 2018).

    D(X) is (B, 1); X, (B, 3, R, R), must have had requires_grad set before D saw them.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), photos, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def lazy_r1(discriminator: nn.Module, photos: Tensor, step: int, config: R1Config) -> Tensor:
    """R1 term of D's loss: gamma / 2 * every * penalty on every `every`-th step, else zero.

    Photos are (B, 3, R, R) in [-1, 1]; steps count from 0.
    """
    if step % config.every or config.weight == 0:
        return photos.new_zeros(())
    shown = photos.detach().requires_grad_()
    return config.weight / 2 * config.every * r1_penalty(discriminator(shown), shown)


def path_lengths(images: Tensor, codes: Tensor) -> Tensor:
    """Return ||J_w^T y||_2, y unit noise, divided by sqrt(N) and by the image's side, (B,).

    Images G(w), (B, 3, R, R), are drawn from the codes w, (B, N, D), with the graph kept.
    """
    noise = torch.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((images * noise).sum(), codes, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()  # (B, N, D) -> (B,)


def path_length_penalty(
    lengths: Tensor, mean_length: Tensor, decay: float
) -> tuple[Tensor, Tensor]:
    """Path length regulariser of G (Karras et al. 2020, Sec. 3.2); lengths as of `path_lengths`.

    `mean_length` is a, their running mean, and `decay` the share of the newest in it. Return mean
    of (length - a)^2 with the new a; and the new a, detached.
    """
    mean_length = mean_length.lerp(lengths.mean(), decay)
    return (lengths - mean_length).square().mean(), mean_length.detach()
