"""Train the encoder E so that its codes can be edited (Tov et al., 2021). G is frozen.

    w_E = latent_avg + E(X),  X^ = G(w_E)
    L_E = L2 + 0.8 LPIPS + 0.1 ID of (X^, X)
        + 2e-4 sum_i ||w_i - w_0||_2                 styles stay near one another
        + 0.1 mean_i softplus(-D_w(w_i))             and near what the mapping network gives
    L_D = softplus(-D_w(f(z))) + softplus(D_w(w_i)) + lazy R1 at f(z)

With `drawn`, which is in no paper, half as many images of G's own join the photos, and the w that
drew them says where codes lie:

    L_E += drawn ||w_E - w||^2 / (N D)

Progressive: at first all styles are style 0, a code of W. From `progressive_start` one more may
differ every `progressive_every` steps; sums and means over i take those that may. A head starts at
zero, so a style that may not differ yet does not in the saved model.

D_w is a small MLP on one style vector. Its real and encoded codes pass through pools, so that it
sees older ones too. Defaults are the published recipe's; several processes need
`loop.find_unused_parameters`, since waiting heads do not run.

Shapes: B photos, S side of the model, N styles, D width of a style.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import sent
from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.errors import MOST_LAYERS, ConfigError, check_sizes
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.image_losses import ImageLoss, ImageLossConfig, LossNetworks
from stylefeatureeditor.training.loop import RunResult, fit
from stylefeatureeditor.training.losses import R1Config, generator_loss, lazy_r1
from stylefeatureeditor.training.phase import BatchNormMode, HeldOut, Metrics, ModelPhase, likeness
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.training.run_folder import ModelRun, finish_run, set_up

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from stylefeatureeditor.generator.discriminator import Discriminator
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.training.phase import Rows


@dataclass(frozen=True, kw_only=True)
class LatentDiscriminatorConfig:
    """D_w and how it is trained.

    Attributes:
        weight: of its loss in L_E; 0 leaves D_w out.
        layers: linear layers of the MLP, all of the codes' width but the last.
        lr: of Adam.
        r1: gradient penalty at real codes.
        pool_size: codes a pool keeps; 0 shows the newest only.
    """

    weight: float = 0.1
    layers: int = 4
    lr: float = 2e-5
    r1: R1Config = field(default_factory=R1Config)
    pool_size: int = 50

    def __post_init__(self) -> None:
        check_sizes(self, (self.layers,), MOST_LAYERS)
        if self.weight < 0 or self.lr <= 0 or self.pool_size < 0:
            raise ConfigError(
                f"weight and pool_size cannot be negative, lr must be positive: {self}"
            )


@dataclass(frozen=True, kw_only=True)
class E4eTrainingConfig:
    """How E is trained; the defaults are the published recipe for faces.

    Attributes:
        image: terms on (X^, X).
        delta: weight of the styles' distances from style 0.
        latent: D_w.
        drawn: weight of the distance to the known codes of drawn images; 0 draws none.
        progressive_start: first step at which style 1 may differ.
        progressive_every: steps between two further styles; 0 lets all differ from the start.
        zero_heads: heads 1.. start at zero; switch off to go on from a trained E.
        ranger: optimiser of E.
        batch_norm: E's BatchNorm, see `phase.set_training`.
        samples: held-out photos in a sample picture.
    """

    image: ImageLossConfig = field(default_factory=lambda: ImageLossConfig(side=256))
    delta: float = 2e-4
    latent: LatentDiscriminatorConfig = field(default_factory=LatentDiscriminatorConfig)
    drawn: float = 0.0
    progressive_start: int = 20_000
    progressive_every: int = 2_000
    zero_heads: bool = True
    ranger: RangerConfig = field(default_factory=lambda: RangerConfig(lr=1e-4))
    batch_norm: BatchNormMode = "batch"
    samples: int = 8

    def __post_init__(self) -> None:
        numbers = (self.delta, self.drawn, self.progressive_start, self.progressive_every)
        if min(numbers) < 0 or self.samples < 1:
            raise ConfigError(
                "delta, drawn and the progressive steps cannot be negative, samples at least 1: "
                f"{self}"
            )

    def active_styles(self, step: int, num_styles: int) -> int:
        """Return how many of N styles may differ from one another at a step, 1 to N."""
        if self.progressive_every == 0:
            return num_styles
        if step < self.progressive_start:
            return 1
        return min(num_styles, 2 + (step - self.progressive_start) // self.progressive_every)


@dataclass(frozen=True, kw_only=True)
class E4eRun(ModelRun):
    """Train the encoder E whose codes can be edited."""

    training: E4eTrainingConfig = field(default_factory=E4eTrainingConfig)


class LatentDiscriminator(nn.Module):
    """D_w: one logit per style vector, high for those of the mapping network."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        hidden: list[nn.Module] = []
        for _ in range(layers - 1):
            hidden += [nn.Linear(width, width), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """(n, D) -> (n, 1)."""
        return self.body(codes)


class CodePool:
    """Gives codes back mixed with older ones: half of them, once the pool is full."""

    def __init__(self, size: int, width: int) -> None:
        self.kept = torch.zeros(size, width)
        self.count = 0

    def exchange(self, codes: Tensor) -> Tensor:
        """Return (n, D) codes, each the given one or an older one that it replaces."""
        size = len(self.kept)
        kept, given = list(range(size)), []  # rows of the old codes, followed by the new ones
        for row in range(size, size + len(codes)):
            if self.count < size:
                kept[self.count] = row
                self.count += 1
            elif size and torch.rand(()) < 0.5:
                place = int(torch.randint(size, ()))
                given.append(kept[place])
                kept[place] = row
                continue
            given.append(row)
        known = torch.cat([self.kept.to(codes.device), codes.detach().float()])
        rows = sent(torch.tensor(given + kept), codes.device)
        drawn, self.kept = known[rows].split([len(given), size])
        return drawn

    def state_dict(self) -> dict[str, Any]:
        """Return the pool."""
        return {"kept": self.kept, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the pool."""
        self.kept.copy_(state["kept"])
        self.count = state["count"]


class E4eForward(nn.Module):
    """E and G as one forward, as wrappers for several processes and mixed precision need it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.e4e = model.e4e
        self.generator = model.generator
        self.encoder_size = model.config.encoder_size

    def forward(self, photos: Tensor, num_styles: int) -> tuple[Tensor, Tensor]:
        """Return X^, (B, 3, S, S), and w_E, (B, N, D), of photos (B, 3, S, S) in [-1, 1].

        `num_styles` may differ.
        """
        offsets = self.e4e(resize(photos, self.encoder_size), num_styles)
        wplus = self.generator.latent_avg + offsets
        return self.generator.synthesize(Codes(wplus)), wplus


class E4ePhase(ModelPhase):
    """Trains `model.e4e`, and D_w against it; G is trained already, all but E stays as it is.

    D is needed if `image.discriminator_features` is used. For `held_out` see `Phase`.
    """

    trains = ("e4e",)
    counters = ("active",)

    def __init__(
        self,
        config: E4eTrainingConfig,
        model: Model,
        networks: LossNetworks,
        discriminator: Discriminator | None = None,
        held_out: HeldOut | None = None,
    ) -> None:
        self.config = config
        self.model = model
        self.held_out = held_out
        self.image_loss = ImageLoss(config.image, networks, discriminator)
        self.losses = {"first_discriminator": self.image_loss}
        width = model.config.generator.style_dim
        self.latent_discriminator = LatentDiscriminator(width, config.latent.layers)
        self.real_pool = CodePool(config.latent.pool_size, width)
        self.encoded_pool = CodePool(config.latent.pool_size, width)
        self.active = config.active_styles(0, model.config.generator.num_styles)
        if config.zero_heads:
            with torch.no_grad():
                for head in list(model.e4e.heads)[1:]:
                    head.linear.weight.zero_()  # type: ignore[union-attr, operator]
                    head.linear.bias.zero_()  # type: ignore[union-attr, operator]

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Prepare E and D_w."""
        critic = self.latent_discriminator
        adam = torch.optim.Adam(critic.parameters(), lr=self.config.latent.lr)
        forward = self.prepare_model(accelerator, E4eForward)
        self.wrapped_latent, self.latent_optimizer = accelerator.prepare(critic, adam)
        return [forward, self.wrapped_latent]

    def train_step(self, photos: Tensor, step: int) -> Metrics:
        """Train D_w on the codes as they are, then E, on photos (B, 3, S, S) in [-1, 1]."""
        config = self.config
        self.active = config.active_styles(step, self.model.config.generator.num_styles)
        known = self._known_codes(max(1, len(photos) // 2)) if config.drawn else None
        if known is not None:
            with torch.no_grad(), self.accelerator.autocast():
                own = self.model.generator.synthesize(known)
            photos = torch.cat([photos, own.to(photos)])
        drawn, wplus = self.forward(photos, self.active)
        wplus = wplus.float()
        metrics: Metrics = {}
        if config.latent.weight:
            metrics = self._train_latent_discriminator(wplus.detach(), step)

        image = self.image_loss(drawn, photos)
        spread = style_spread(wplus[:, : self.active]).mean()
        loss = image.total + config.delta * spread
        if config.latent.weight:
            self.latent_discriminator.requires_grad_(requires_grad=False)
            adversarial = generator_loss(self.latent_discriminator(self._vectors(wplus)))
            loss = loss + config.latent.weight * adversarial
            metrics["adversarial"] = adversarial.detach()
        if known is not None:
            distance = functional.mse_loss(wplus[-len(known.wplus) :], known.wplus)
            loss = loss + config.drawn * distance
            metrics["drawn_codes"] = distance.detach()
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        found = {"loss": loss.detach()} | image.metrics() | {"style_spread": spread.detach()}
        return found | metrics | {"active_styles": float(self.active)}

    def _train_latent_discriminator(self, wplus: Tensor, step: int) -> Metrics:
        config = self.config.latent
        self.latent_discriminator.requires_grad_()
        real = self.real_pool.exchange(self._known_codes(len(wplus)).wplus[:, 0])
        encoded = self.encoded_pool.exchange(self._vectors(wplus))

        real_scores = self.wrapped_latent(real)
        encoded_scores = self.wrapped_latent(encoded)
        loss = functional.softplus(-real_scores).mean() + functional.softplus(encoded_scores).mean()
        penalty = lazy_r1(self.wrapped_latent, real, step, config.r1)
        self.accelerator.backward(loss + penalty)
        self.latent_optimizer.step()
        self.latent_optimizer.zero_grad()
        return {
            "loss_d": loss.detach(),
            "score_real": real_scores.detach().mean(),
            "score_encoded": encoded_scores.detach().mean(),
        }

    def _known_codes(self, count: int) -> Codes:
        """What the mapping network gives for z drawn by chance."""
        generator = self.model.generator
        z = torch.randn(count, generator.config.latent_dim, device=generator.latent_avg.device)
        with torch.no_grad():
            return generator.map(z)

    def _vectors(self, wplus: Tensor) -> Tensor:
        """Return the styles that may differ, (B * active, D)."""
        return wplus[:, : self.active].flatten(0, 1)

    def judge(self, photos: Tensor) -> Rows:
        """Return L2 and SSIM of X^, and the spread of the styles."""
        drawn, wplus = self._encode(photos)
        return likeness(drawn, photos) | {"style_spread": style_spread(wplus)}

    def show(self, photos: Tensor) -> Rows:
        """Return X, X^."""
        return {"photos": photos, "drawn": self._encode(photos)[0]}

    def parts(self) -> dict[str, Any]:
        """See `Phase`."""
        return super().parts() | {
            "latent_discriminator": self.latent_discriminator,
            "real_pool": self.real_pool,
            "encoded_pool": self.encoded_pool,
            "latent_optimizer": self.latent_optimizer,
        }

    def _encode(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Return X^ and w_E."""
        return self.accelerator.unwrap_model(self.forward)(photos, self.active)


def train_e4e(config: E4eRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train E and leave a model folder; `out` is the run's folder, `resume` goes on.

    Raises:
        SfeError: see `set_up` and `fit`.
    """
    training = config.training
    given = set_up(config, "e4e", (training.image,), keep=("inverter", "feature_editor"))
    training = replace(training, zero_heads=training.zero_heads and not given.tuned)
    phase = E4ePhase(training, given.model, given.networks, given.discriminator, given.held_out)
    result = fit(phase, given.images, config, out, resume=resume)
    return finish_run(result, given.start, "e4e", given.discriminator)


def style_spread(wplus: Tensor) -> Tensor:
    """Return sum_i ||w_i - w_0||_2 of codes (B, n, D): (B,), 0 for one style."""
    return torch.linalg.vector_norm(wplus[:, 1:] - wplus[:, :1], dim=2).sum(dim=1)
