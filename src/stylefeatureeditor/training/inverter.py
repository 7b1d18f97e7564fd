"""Phase 1: train the Inverter I to redraw photos (App. 7). G is frozen; E and H take no part.

    (w, F_k) = I(X)                                                            Eq. 3
    X^  = G(F, w_{k+1:N}),  F = (1 - s) F_w + s F_k,  s = min(1, step / blend_steps)
    X^_w = G(w)

    L_I = L_im(X^, X) + L_im(X^_w, X)      "sum": the paper;  half of it, "mean": the release
        + features * ||F_k||_2             "norm": the paper; MSE(F_k, F_w), "distance": the release
    L_im = L2 + 0.8 LPIPS + 0.1 ID + 0.01 softplus(-D(.))        adversarial from its own start on
    L_D = (softplus(-D(X)) + softplus(D(X^, X^_w))) / 2 + lazy R1

Which of the two a preset takes, and why: docs/adr/0001 to 0003. D sees whole images; the other
losses see them at `image.side`.

Shapes: B photos, S side of the model, N styles, D width of a style, C and S_F of F_k.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.adversary import AdversarialConfig, Adversary
from stylefeatureeditor.training.image_losses import ImageLoss, ImageLossConfig, LossNetworks
from stylefeatureeditor.training.loop import RunResult, fit
from stylefeatureeditor.training.losses import (
    R1Config,
    feature_distance,
    feature_l1,
    feature_norm,
)
from stylefeatureeditor.training.phase import BatchNormMode, HeldOut, Metrics, ModelPhase, likeness
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.training.run_folder import (
    ModelRun,
    finish_run,
    fresh_discriminator,
    set_up,
)

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from stylefeatureeditor.generator.discriminator import Discriminator
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.training.phase import Rows


@dataclass(frozen=True, kw_only=True)
class InverterTrainingConfig:
    """How I is trained; the defaults are the paper's on faces, `presets.py` has the others.

    Attributes:
        image: L_im without its adversarial term.
        adversarial: that term, and D.
        pair: whether the losses of X^ and X^_w are added or averaged.
        features: weight of the regulariser of F_k.
        feature_form: its form: "norm" of F_k; "distance", the mean square of F_k - F_w; or "l1",
            its mean absolute value.
        blend_steps: steps until F_k alone is drawn; 0 draws it from the start.
        begin: "generator" first sets the Fuser to F_k = F_w, also one of --tune-from, whose
            features may be those of another G.
        ranger: optimiser of I.
        batch_norm: I's BatchNorm, see `phase.set_training`.
        samples: held-out photos in a sample picture.
    """

    image: ImageLossConfig = field(default_factory=ImageLossConfig)
    adversarial: AdversarialConfig = field(
        default_factory=lambda: AdversarialConfig(start=14_000, r1=R1Config(weight=0.0))
    )
    pair: Literal["sum", "mean"] = "sum"
    features: float = 0.01
    feature_form: Literal["norm", "distance", "l1"] = "norm"
    blend_steps: int = 0
    begin: Literal["random", "generator"] = "random"
    ranger: RangerConfig = field(default_factory=RangerConfig)
    batch_norm: BatchNormMode = "batch"
    samples: int = 8

    def __post_init__(self) -> None:
        if self.features < 0 or self.blend_steps < 0 or self.samples < 1:
            raise ConfigError(
                f"features and blend_steps cannot be negative, samples must be at least 1: {self}"
            )

    def blend(self, step: int) -> float:
        """Return s, the share of F_k in what is drawn."""
        return min(1.0, step / self.blend_steps) if self.blend_steps else 1.0


@dataclass(frozen=True, kw_only=True)
class InverterRun(ModelRun):
    """Phase 1: train the Inverter, which redraws photos."""

    training: InverterTrainingConfig = field(default_factory=InverterTrainingConfig)


class InverterForward(nn.Module):
    """I and G as one forward, as wrappers for several processes and mixed precision need it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.inverter = model.inverter
        self.generator = model.generator
        self.encoder_size = model.config.encoder_size
        self.layer = model.config.feature_layer

    def forward(self, photos: Tensor, blend: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return X^ and X^_w, (B, 3, S, S) each, and F_k and F_w, (B, C, S_F, S_F) each.

        Photos are (B, 3, S, S) in [-1, 1]; `blend` is s.
        """
        found = self.inverter(resize(photos, self.encoder_size), self.generator, self.layer)
        start, features = found.start, found.features
        mixed = features if blend == 1 else torch.lerp(start.features, features, blend)
        codes = found.codes
        drawn = self.generator.synthesize_from(mixed, codes, self.layer, start.rgb)
        from_codes = self.generator.synthesize_from(start.features, codes, self.layer, start.rgb)
        return drawn, from_codes, features, start.features


class InverterPhase(ModelPhase):
    """Trains `model.inverter`, and D against it; G is trained already, all but I stays as it is.

    D is best the one that G was trained with. For `held_out` see `Phase`.
    """

    trains = ("inverter",)

    def __init__(
        self,
        config: InverterTrainingConfig,
        model: Model,
        discriminator: Discriminator,
        networks: LossNetworks,
        held_out: HeldOut | None = None,
    ) -> None:
        self.config = config
        self.model = model
        self.adversary = Adversary(config.adversarial, discriminator)
        self.held_out = held_out
        self.image_loss = ImageLoss(config.image, networks, discriminator)
        self.losses = {"first_discriminator": self.image_loss}
        if config.begin == "generator":
            if model.inverter.fuser is None:
                raise ConfigError("begin 'generator' needs a Fuser, this model has none")
            model.inverter.fuser.body.begin_at(0, 1)

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Prepare I and D."""
        return [
            self.prepare_model(accelerator, InverterForward),
            self.adversary.prepare(accelerator),
        ]

    def train_step(self, photos: Tensor, step: int) -> Metrics:
        """Train I, then D, on photos (B, 3, S, S) in [-1, 1]; both see the same drawn images."""
        config = self.config
        share = 1.0 if config.pair == "sum" else 0.5
        blend = config.blend(step)
        drawn, from_codes, features, code_features = self.forward(photos, blend)

        image = self.image_loss(drawn, photos)
        image_codes = self.image_loss(from_codes, photos)
        if config.feature_form == "norm":
            regulariser = feature_norm(features)
        else:
            distance = feature_l1 if config.feature_form == "l1" else feature_distance
            regulariser = distance(features, code_features)
        loss = share * (image.total + image_codes.total) + config.features * regulariser
        metrics: Metrics = {**image.metrics(), **image_codes.metrics("codes_")}
        metrics |= {"features": regulariser.detach(), "blend": blend}
        if self.adversary.active(step):
            # at once: D's minibatch spread compares both halves, here and where D learns
            adversarial = self.adversary.ask(torch.cat([drawn, from_codes]))
            loss = loss + 2 * share * config.adversarial.weight * adversarial
            metrics["adversarial"] = adversarial.detach()

        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        metrics = {"loss": loss.detach()} | metrics
        if self.adversary.active(step):
            fakes = torch.cat([drawn.detach(), from_codes.detach()])  # (2B, 3, S, S)
            metrics |= self.adversary.train(photos, fakes, step)
        return metrics

    def judge(self, photos: Tensor) -> Rows:
        """Return L2 and SSIM of X^ and X^_w, without blending."""
        drawn, from_codes = self._redraw(photos)
        return likeness(drawn, photos) | likeness(from_codes, photos, "_codes")

    def show(self, photos: Tensor) -> Rows:
        """Return X, X^_w, X^."""
        drawn, from_codes = self._redraw(photos)
        return {"photos": photos, "from_codes": from_codes, "drawn": drawn}

    def parts(self) -> dict[str, Any]:
        """See `Phase`."""
        return super().parts() | self.adversary.parts()

    def _redraw(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Return X^ and X^_w."""
        return self.accelerator.unwrap_model(self.forward)(photos, 1.0)[:2]


def train_inverter(config: InverterRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train I and leave a model folder; `out` is the run's folder, `resume` goes on.

    Raises:
        SfeError: see `set_up` and `fit`.
    """
    given = set_up(config, "inverter", (config.training.image,), keep=("e4e",))
    discriminator = given.discriminator or fresh_discriminator(given.model.config.generator)
    phase = InverterPhase(
        config.training, given.model, discriminator, given.networks, given.held_out
    )
    result = fit(phase, given.images, config, out, resume=resume)
    return finish_run(result, given.start, "inverter", discriminator)
