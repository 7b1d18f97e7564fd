"""Train G: StyleGAN2 from a folder of images (Karras et al., 2019 and 2020).

    L_D = softplus(D(G(z))) + softplus(-D(X))            every step
        + gamma / 2 * ||dD / dX||^2                      every `r1_every` steps, times as much
    L_G = softplus(-D(G(z)))                             every step
        + weight * (||J_w^T y||_2 - a)^2                 every `path_every` steps, times as much

a is the running mean of the lengths, y unit noise of the image's shape. A lazy regulariser joins
the gradients of the step it falls on: Adam takes one step per batch, so its rate and betas need no
correction for further ones. What users get is not G but its running average, and in it latent_avg,
the running mean of w.

R1 differentiates D at the augmented photo, where D is used, and not through the augmentation: older
versions of torch have no second derivative of it. See `augment.py`.

A run may begin with networks of its size (transfer), or of half of it (progressive growing, Karras
et al., 2018): most of what a face is gets learnt below 64 px, where a step costs little. There is
no blending: StyleGAN2's sum of RGB layers lets the new one begin at zero.

Shapes: B batch, N styles, D width of a style, S side in pixels.
"""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import average_pool, sent
from stylefeatureeditor.errors import ConfigError, TrainingError, WeightsError
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.metrics.pixel import frechet_distance
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.augment import AdaptiveAugment, AugmentConfig, diff_augment
from stylefeatureeditor.training.checkpoints import load_checkpoint
from stylefeatureeditor.training.loop import Run, RunResult, fit
from stylefeatureeditor.training.losses import (
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from stylefeatureeditor.training.phase import HeldOut, Metrics, Phase
from stylefeatureeditor.training.run_folder import (
    find_discriminator,
    finish_run,
    held_out_photos,
    load_generator,
    open_data,
)
from stylefeatureeditor.weights.configs import to_plain
from stylefeatureeditor.weights.key_maps import without_prefix
from stylefeatureeditor.weights.storage import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from accelerate import Accelerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GeneratorTrainingConfig:
    """How G is trained; the presets have values for each size.

    Attributes:
        network: size of G.
        discriminator: size of D.
        lr_generator: of Adam, betas (0, 0.99).
        lr_discriminator: the same for D.
        r1_gamma: gamma above.
        r1_every: steps between two penalties on D; 0 never.
        path_weight: weight above; 0 switches the path length regulariser off.
        path_every: steps between two penalties on G.
        path_batch_share: its batch is this part of B, at least 1 image.
        path_decay: share of the newest length in a.
        mixing: share of images whose styles after a random layer come from a second code.
        noise: fresh noise per image in training; without, the stored buffers.
        average_images: half-life of the average of G, in images.
        average_ramp: the half-life is at most this part of the images seen so far.
        latent_decay: share of the old latent_avg that a step keeps.
        generator_start: first step at which G is trained; D alone before it, after growing.
        freeze_d: blocks of D, those nearest to the image, that stay as they are (FreezeD, Mo et
            al., 2020); for transfer.
        augment: what D sees: the images, or "ada" or "diff" of `augment.py`, for small sets.
        ada: how adaptive augmentation adapts.
        samples: images in a sample grid.
    """

    network: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    lr_generator: float = 2e-3
    lr_discriminator: float = 2e-3
    r1_gamma: float = 10.0
    r1_every: int = 16
    path_weight: float = 2.0
    path_every: int = 4
    path_batch_share: float = 0.5
    path_decay: float = 0.01
    mixing: float = 0.9
    noise: bool = True
    average_images: float = 10_000.0
    average_ramp: float = 0.05
    latent_decay: float = 0.998
    generator_start: int = 0
    freeze_d: int = 0
    augment: Literal["none", "ada", "diff"] = "none"
    ada: AugmentConfig = field(default_factory=AugmentConfig)
    samples: int = 32

    def __post_init__(self) -> None:
        if self.network.size != self.discriminator.size:
            raise ConfigError(
                f"G draws {self.network.size} px and D looks at {self.discriminator.size} px; "
                "set both sizes alike"
            )
        if min(self.lr_generator, self.lr_discriminator, self.average_images) <= 0:
            raise ConfigError("learning rates and average_images must be positive")
        if self.r1_every < 0 or self.path_every < 1:
            raise ConfigError("r1_every cannot be negative and path_every must be at least 1")
        if not 0 <= self.freeze_d <= len(self.discriminator.sides):
            raise ConfigError(
                f"D has {len(self.discriminator.sides)} blocks that could stay as they are, not "
                f"{self.freeze_d}"
            )
        if not 0 <= self.mixing <= 1:
            raise ConfigError(f"mixing is a share between 0 and 1, got {self.mixing}")


@dataclass(frozen=True, kw_only=True)
class GeneratorRun(Run):
    """Train StyleGAN2, from nothing or from networks of this size or of half of it.

    Attributes:
        grow_from: folder of a run of half the size.
        start: trained networks, see `read_networks`; their sizes count before `training`'s.
    """

    grow_from: Path | None = None
    start: Path | None = None
    training: GeneratorTrainingConfig = field(default_factory=GeneratorTrainingConfig)


class GeneratorForward(nn.Module):
    """z to images through `forward`, as wrappers for several processes and bfloat16 need it.

    The mapping stays in float32.
    """

    def __init__(self, generator: Generator, *, random_noise: bool) -> None:
        super().__init__()
        self.generator = generator
        self.random_noise = random_noise

    def forward(self, z: Tensor, late: Tensor, *, lengths: bool = False) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, S, S) and their codes w (B, N, D), or their path lengths (B,).

        z are two latent vectors per image, (2, B, D); `late`, (B, N) bool, are the styles of the
        second. `lengths` takes path lengths here, since a wrapper for several processes may return
        copies, and images have no derivative by a copy of their codes.
        """
        with torch.autocast(z.device.type, enabled=False):
            first, second = self.generator.map(z.flatten(0, 1)).wplus.chunk(2)
            wplus = torch.where(late[:, :, None], second, first)
        images = self.generator.synthesize(Codes(wplus), random_noise=self.random_noise)
        return images, path_lengths(images, wplus) if lengths else wplus


class GeneratorPhase(Phase):
    """Trains G against D; `average` is the generator to keep. For `held_out` see `Phase`."""

    counters = ("path_mean", "last_r1", "images_seen")

    def __init__(self, config: GeneratorTrainingConfig, held_out: HeldOut | None = None) -> None:
        self.config = config
        self.held_out = held_out
        self.generator = Generator(config.network)
        self.discriminator = Discriminator(config.discriminator)
        critic = self.discriminator
        kept = [critic.from_rgb, *critic.blocks[: config.freeze_d]] if config.freeze_d else []
        frozen = {parameter for part in kept for parameter in part.parameters()}
        self.critic_weights = [p for p in critic.parameters() if p not in frozen]
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(requires_grad=False)
        self.augment = AdaptiveAugment(config.ada) if config.augment == "ada" else None
        self.path_mean = torch.zeros(())
        self.last_r1: Tensor | float = 0.0
        self.images_seen = 0
        draw = torch.Generator().manual_seed(0)  # the same grid in every run
        self.sample_z = torch.randn(config.samples, config.network.latent_dim, generator=draw)

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Prepare G and D."""
        self.discriminator.requires_grad_(requires_grad=False)
        for parameter in self.critic_weights:
            parameter.requires_grad_()
        self.accelerator = accelerator
        device = accelerator.device
        place: Any = {"device": device, "memory_format": accelerator.layout}
        self.average.to(**place)
        if self.augment is not None:
            self.augment.to(device)
        self.path_mean = self.path_mean.to(device)
        forward = GeneratorForward(self.generator, random_noise=self.config.noise)
        critic, config = self.discriminator, self.config
        adams: Any = [_adam(forward, config.lr_generator), _adam(critic, config.lr_discriminator)]
        self.forward, self.wrapped_discriminator, *adams = accelerator.prepare(
            forward, critic, *adams
        )
        self.generator_optimizer, self.discriminator_optimizer = adams
        return [self.forward, self.wrapped_discriminator]

    def train_step(self, photos: Tensor, step: int) -> Metrics:
        """Train D, then G, on photos (B, 3, S, S) in [-1, 1]; both see the same drawn images."""
        trains_generator = step >= self.config.generator_start
        with torch.set_grad_enabled(trains_generator):
            fakes, codes = self._draw(len(photos))
        metrics = self._train_discriminator(photos, fakes.detach(), step)
        if trains_generator:
            metrics |= self._train_generator(fakes, step)
        if self.accelerator.sync_gradients:
            self._update_average(len(photos), codes)
        return metrics

    def _train_discriminator(self, photos: Tensor, fakes: Tensor, step: int) -> Metrics:
        config, accelerator = self.config, self.accelerator
        for parameter in self.critic_weights:
            parameter.requires_grad_()

        fake_scores = self.wrapped_discriminator(self._augmented(fakes))
        fake_loss = functional.softplus(fake_scores).mean()
        accelerator.backward(fake_loss)

        regularised = config.r1_every > 0 and step % config.r1_every == 0
        shown = self._augmented(photos).detach().requires_grad_(regularised)
        real_scores = self.wrapped_discriminator(shown)
        real_loss = functional.softplus(-real_scores).mean()
        loss = real_loss
        if regularised:
            r1 = r1_penalty(real_scores, shown)
            loss = loss + config.r1_gamma / 2 * config.r1_every * r1
            self.last_r1 = r1.detach()
        accelerator.backward(loss)
        self.discriminator_optimizer.step()
        self.discriminator_optimizer.zero_grad()

        real_scores, fake_scores = real_scores.detach(), fake_scores.detach()
        metrics: Metrics = {
            "loss_d": (fake_loss + real_loss).detach(),
            "score_real": real_scores.mean(),
            "score_fake": fake_scores.mean(),
            "sign_real": real_scores.sign().mean(),
            "r1": self.last_r1,
        }
        if self.augment is not None:
            self.augment.adapt(accelerator.gather(real_scores))
            metrics["augment_p"] = self.augment.probability.clone()
        return metrics

    def _train_generator(self, fakes: Tensor, step: int) -> Metrics:
        config, accelerator = self.config, self.accelerator
        self.discriminator.requires_grad_(requires_grad=False)  # so its plain module will do

        loss = generator_loss(self.discriminator(self._augmented(fakes)))
        accelerator.backward(loss)
        metrics: Metrics = {"loss_g": loss.detach()}
        if config.path_weight > 0:
            if step % config.path_every == 0:
                count = max(1, int(len(fakes) * config.path_batch_share))
                drawn, lengths = self._draw(count, lengths=True)
                penalty, mean = path_length_penalty(lengths, self.path_mean, config.path_decay)
                self.path_mean = accelerator.reduce(mean, reduction="mean")
                # the zero term gives every parameter a gradient, as several processes expect
                accelerator.backward(
                    config.path_weight * config.path_every * penalty + 0 * drawn.mean()
                )
            metrics["path_length"] = self.path_mean
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad()
        return metrics

    def validate(self) -> dict[str, float]:
        """Compare drawn and held-out images by quick numbers that show early if G fails."""
        if self.held_out is None:
            return {}
        draw = torch.Generator().manual_seed(1)
        z = torch.randn(len(self.held_out), self.config.network.latent_dim, generator=draw)

        def judge(places: Sequence[int]) -> dict[str, Tensor]:
            drawn, photos = self._show(z[list(places)]).clamp(-1, 1), self.photos(places)
            return {
                "drawn": thumbnails(drawn),
                "photos": thumbnails(photos),
                "drawn_detail": detail(drawn),
                "photos_detail": detail(photos),
            }

        found = self.judged(judge)
        share = found["drawn_detail"].mean() / found["photos_detail"].mean()
        metrics = {"detail": share.item()}  # below 1: blurred
        if len(z) > 1:  # one photo has no covariance
            metrics["frechet_8px"] = thumbnail_distance(found["drawn"], found["photos"])
        return metrics

    def samples(self) -> Tensor:
        """Return images of the averaged G from the same z each time, rows of 8, (3, H, W)."""

        def show(places: Sequence[int]) -> dict[str, Tensor]:
            return {"drawn": self._show(self.sample_z[list(places)])}

        drawn = self.rows(show, range(len(self.sample_z)))["drawn"].cpu()
        size = self.config.network.size
        drawn = functional.pad(drawn, (0, 0, 0, 0, 0, 0, 0, -len(drawn) % 8), value=-1.0)
        rows = drawn.reshape(-1, 8, 3, size, size)
        return rows.permute(2, 0, 3, 1, 4).reshape(3, -1, 8 * size).clamp(-1, 1)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Phase`."""
        super().load_state_dict(state)
        self.path_mean = self.path_mean.to(self.accelerator.device)

    def save_model(self, folder: Path) -> None:
        """Write the averaged G as generator.safetensors, its config in the header."""
        header = {
            "config": json.dumps(to_plain(self.config.network)),
            "images_seen": str(self.images_seen),
        }
        save_tensors(folder / "generator.safetensors", self.average.state_dict(), header)

    def parts(self) -> dict[str, Any]:
        """See `Phase`."""
        parts = {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        return parts if self.augment is None else parts | {"augment": self.augment}

    def _draw(self, count: int, *, lengths: bool = False) -> tuple[Tensor, Tensor]:
        """Draw images with style mixing; return them and their codes, or path lengths."""
        network, device = self.config.network, self.accelerator.device
        z = torch.randn(2, count, network.latent_dim, device=device)
        cut = torch.randint(1, network.num_styles, (count, 1), device=device)
        mixed = torch.rand(count, 1, device=device) < self.config.mixing
        late = (torch.arange(network.num_styles, device=device) >= cut) & mixed
        return self.forward(z, late, lengths=lengths)

    def _augmented(self, images: Tensor) -> Tensor:
        if self.config.augment == "diff":
            return diff_augment(images)
        return images if self.augment is None else self.augment(images)

    @torch.no_grad()
    def _show(self, z: Tensor) -> Tensor:
        """Return images of the averaged G."""
        return self.average.synthesize(self.average.map(sent(z, self.accelerator.device)))

    @torch.no_grad()
    def _update_average(self, count: int, codes: Tensor) -> None:
        """Move the averages by one step of `count` images here and in every other part."""
        config, accelerator = self.config, self.accelerator
        mean = accelerator.reduce(codes[:, 0].detach().mean(dim=0), reduction="mean")
        self.generator.latent_avg.lerp_(mean, 1 - config.latent_decay)
        batch = count * accelerator.num_processes * accelerator.gradient_accumulation_steps
        self.images_seen += batch
        half_life = min(config.average_images, config.average_ramp * self.images_seen)
        share = 1 - 0.5 ** (batch / max(half_life, 1e-8))
        for kept, new in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            kept.data.lerp_(new, share)
        for copied, last in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            copied.copy_(last)


THUMBNAIL = 8  # side in pixels
NOTHING_TO_FREEZE = (
    "freeze_d keeps layers of a discriminator that has learnt: start from a file that holds one of "
    "the same size"
)


def _adam(network: nn.Module, lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.0, 0.99), eps=1e-8)


def thumbnails(images: Tensor) -> Tensor:
    """Return images (n, 3, S, S) averaged down to 8 x 8 pixels, (n, 192)."""
    return average_pool(images, THUMBNAIL).flatten(1)


def thumbnail_distance(drawn: Tensor, photos: Tensor) -> float:
    """Return the Frechet distance of thumbnails, (n, 192) and (m, 192); lower is better.

    It sees colour, pose and loss of variety, not detail. The distance that photos of the same kind
    reach falls with more images.
    """
    statistics = [(rows.mean(dim=0), rows.T.cov()) for rows in (drawn, photos)]
    return frechet_distance(*statistics[0], *statistics[1]).item()


def detail(images: Tensor) -> Tensor:
    """Return the mean square difference of neighbouring pixels of images (n, 3, S, S): (n,)."""
    steps = [images.diff(dim=dim).square().flatten(1).mean(dim=1) for dim in (-1, -2)]
    return steps[0] + steps[1]


def begin_from(
    state: Mapping[str, Any], config: GeneratorTrainingConfig, held_out: HeldOut | None = None
) -> GeneratorPhase:
    """Return a phase that starts from trained networks of its size S, or of S / 2.

    Widths depend on the side alone, so all layers of the smaller ones carry over. G's new RGB layer
    starts at zero: its first images are those of S / 2, upsampled. D's new block starts at random;
    `generator_start` trains D alone at first. Optimisers start afresh. `state` has state dicts
    "average" and perhaps "generator" and "discriminator". ConfigError if a layer is missing or has
    another shape, or `freeze_d` has no D to keep.
    """
    phase = GeneratorPhase(config, held_out)
    sizes = len(phase.generator.to_rgb)
    known = sum(f"to_rgb.{i}.conv.weight" in state["average"] for i in range(sizes))
    if known < sizes - 1:
        raise ConfigError(f"G grows to twice its size at a time, not to {config.network.size} px")
    critic = state.get("discriminator")
    if config.freeze_d and (critic is None or known < sizes):
        raise ConfigError(NOTHING_TO_FREEZE)
    for name in ("generator", "average"):
        network: Generator = getattr(phase, name)
        _carry_over(network, state.get(name, state["average"]))
        if known < sizes:
            nn.init.zeros_(network.get_parameter(f"to_rgb.{sizes - 1}.conv.weight"))
    if critic is not None:
        whole = critic if known == sizes else _discriminator_layers(critic)
        _carry_over(phase.discriminator, whole)
    return phase


def _carry_over(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    for name, tensor in state.items():
        room = tuple(own[name].shape) if name in own else "missing"
        if tuple(tensor.shape) != room:
            raise ConfigError(
                f"{name} is {tuple(tensor.shape)} in the network to start from and {room} in this "
                "one: only the size may differ"
            )
    network.load_state_dict(own | dict(state))


def _discriminator_layers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename for twice the size: blocks count from the largest, and from_rgb belongs to it."""
    kept = {}
    for name, tensor in state.items():
        room, _, rest = name.partition(".")
        if room == "blocks":
            index, _, rest = rest.partition(".")
            kept[f"blocks.{int(index) + 1}.{rest}"] = tensor
        elif room != "from_rgb":
            kept[name] = tensor
    return kept


def train_generator(config: GeneratorRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train G and leave it with D; `out` is the run's folder, `resume` goes on.

    Raises:
        SfeError: `grow_from` holds no checkpoint; and see `begin_from`, `open_data` and `fit`.
    """
    size = config.training.network.size
    torch.manual_seed(config.loop.seed)
    images = open_data(config.data, size)
    held_out = held_out_photos(config.data, images)
    if config.grow_from and config.start:
        raise ConfigError("give either --grow-from RUN or --from FILE to start from, not both")
    if config.start:
        state, sizes = read_networks(config.start)
        known = sizes.get("network")
        training = replace(config.training, **sizes) if known and known.size == size else None
        phase = begin_from(state, training or config.training, held_out)
    elif config.grow_from:
        smaller = load_checkpoint(config.grow_from / "checkpoints")
        if smaller is None:
            raise TrainingError(
                f"{config.grow_from} holds no checkpoint to grow from: it should be the folder "
                f"of a `sfe train generator --size {size // 2}` run"
            )
        phase = begin_from(smaller[1]["phase"], config.training, held_out)
    else:
        if config.training.freeze_d:
            raise ConfigError(NOTHING_TO_FREEZE)
        phase = GeneratorPhase(config.training, held_out)
    config = replace(config, training=phase.config)  # with the sizes of what it started from
    result = fit(phase, images, config, out, resume=resume)
    return finish_run(result, None, "generator", phase.discriminator)


def read_networks(file: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return state dicts of networks to start from, and the sizes that the file tells.

    A file is our tensors `average.*` and `discriminator.*`; a model folder or its generator, with
    the discriminator beside it; NVIDIA's .pkl; stylegan2-pytorch's .pt. Without a D, a new one is
    trained.

    Returns:
        ({"average": ..., "discriminator": ...}, {"network": config, "discriminator": config}).

    Raises:
        WeightsError: the file holds something else.
    """
    state: dict[str, dict[str, Tensor]]
    if file.suffix == ".safetensors":
        tensors = load_tensors(file)[0]
        state = {name: without_prefix(tensors, f"{name}.") for name in ("average", "discriminator")}
        if all(state.values()):
            return state, {}
    file = file / "generator.safetensors" if file.is_dir() else file
    generator = load_generator(file)
    state = {"average": dict(generator.state_dict())}
    sizes: dict[str, Any] = {"network": generator.config}
    own = None if file.suffix == ".safetensors" else file
    try:
        critic = find_discriminator(own, file.parent, generator.config.size)
    except WeightsError as error:
        critic = None
        logger.warning("a new discriminator is trained: %s", error)
    if critic is not None:
        state["discriminator"] = dict(critic.state_dict())
        sizes["discriminator"] = critic.config
    return state, sizes
