"""D in the phases of the method: it learns to tell drawn images from photos.

    loss of drawn images:  softplus(-D(X^))
    L_D = (softplus(-D(X)) + softplus(D(X^))) / 2 + lazy R1

Shapes: B photos of side S.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.losses import (
    R1Config,
    discriminator_loss,
    generator_loss,
    lazy_r1,
)

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from stylefeatureeditor.generator.discriminator import Discriminator


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """The adversarial loss of a phase and how D is trained against it; 1e-4 is App. 7's rate.

    Attributes:
        weight: of softplus(-D(X^)) in the loss; 0 leaves D out altogether.
        start: first step at which D and this loss take part.
        lr: of Adam for D.
        betas: of Adam for D.
        r1: gradient penalty on D; a weight of 0 is none, as in the paper.
    """

    weight: float = 0.01
    start: int = 0
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    r1: R1Config | None = field(default_factory=R1Config)

    def __post_init__(self) -> None:
        if self.weight < 0 or self.start < 0 or self.lr <= 0:
            raise ConfigError(f"weight and start cannot be negative, lr must be positive: {self}")


class Adversary:
    """D, best trained on such images already, and its optimiser."""

    def __init__(self, config: AdversarialConfig, discriminator: Discriminator) -> None:
        self.config = config
        self.discriminator = discriminator

    def prepare(self, accelerator: Accelerator) -> nn.Module:
        """Bring D to where training runs; return it as the processes share it."""
        self.accelerator = accelerator
        self.discriminator.requires_grad_()
        optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=self.config.lr, betas=self.config.betas
        )
        self.wrapped: nn.Module
        self.optimizer: Any
        self.wrapped, self.optimizer = accelerator.prepare(self.discriminator, optimizer)
        self.discriminator.requires_grad_(requires_grad=False)  # except in `train`
        return self.wrapped

    def active(self, step: int) -> bool:
        """Whether D takes part in a step."""
        return self.config.weight > 0 and step >= self.config.start

    def ask(self, drawn: Tensor) -> Tensor:
        """Return softplus(-D), a scalar, for drawn images (B, 3, S, S); D gets no gradient."""
        return generator_loss(self.discriminator(drawn))

    def train(self, photos: Tensor, fakes: Tensor, step: int) -> dict[str, Tensor]:
        """Train D for a step on photos and drawn images without a graph, (B, 3, S, S) in [-1, 1].

        Return its loss and scores.
        """
        self.discriminator.requires_grad_()
        real_scores = self.wrapped(photos)
        fake_scores = self.wrapped(fakes)
        loss = discriminator_loss(real_scores, fake_scores)
        r1 = self.config.r1
        penalty = 0.0 if r1 is None else lazy_r1(self.wrapped, photos, step, r1)
        self.accelerator.backward(loss + penalty)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.discriminator.requires_grad_(requires_grad=False)
        return {
            "loss_d": loss.detach(),
            "score_real": real_scores.detach().mean(),
            "score_fake": fake_scores.detach().mean(),
        }

    def parts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, by name."""
        return {"discriminator": self.discriminator, "discriminator_optimizer": self.optimizer}
