"""Phase 2: train the Feature Editor H (App. 7). I, E and G are frozen.

One random direction of a fixed set and one of its strengths per batch give d. On drawn images:

    w_E = E(X),  w_E' = w_E + d;  X_E = G(w_E),  X_E' = G(w_E')
    Delta = F_{w_E} - F_{w_E'}                                                 Eq. 5
    (w, F_k) = I(X_E),  w' = w + d,  F_k' = H(F_k, Delta)                      Eq. 6
    L_edit = L2 + LPIPS + ID of (G(F_k', w'_{k+1:N}), X_E')                    Eq. 7

and on the photos, where there is nothing to edit:

    (w, F_k) = I(X),  X^ = G(H(F_k, 0), w_{k+1:N})
    L_inv  = L2 + LPIPS + ID of (X^, X) + 0.01 softplus(-D(X^))                docs/adr/0007
    L_D    = (softplus(-D(X)) + softplus(D(X^))) / 2 + lazy R1           X' too, if D is asked of it

    L_H = edit_weight L_edit + inversion_weight L_inv  [+ L_attr of attribute_edits.py]

Where Delta is taken at another layer (cars), the layer that brings it to F_k's shape trains with H;
several processes then need `loop.find_unused_parameters`, since L_inv has no Delta.

Table 3: `inversion_weight` 0 is "without inversion loss", `edit_codes` "inverter" is "without E", a
short list of directions is D_small. "Without Fuser" and F_5 are sizes of the model, "without H" a
switch of the evaluation.

Shapes: B photos, S side of the model, C and S_F channels and side of F_k.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.adversary import AdversarialConfig, Adversary
from stylefeatureeditor.training.attribute_edits import (
    NO_CLASSIFIER,
    AttributeEditConfig,
    AttributeEditLoss,
    find_attribute,
)
from stylefeatureeditor.training.edit_pairs import (
    CodeSource,
    TrainingDirection,
    begin_edit,
    edit_codes,
    invert,
    make_edit,
)
from stylefeatureeditor.training.image_losses import ImageLoss, ImageLossConfig, LossNetworks
from stylefeatureeditor.training.loop import RunResult, fit, shared_generator
from stylefeatureeditor.training.losses import R1Config
from stylefeatureeditor.training.phase import (
    BatchNormMode,
    HeldOut,
    Metrics,
    ModelPhase,
    likeness,
    means,
)
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.training.run_folder import (
    ModelRun,
    finish_run,
    fresh_discriminator,
    set_up,
)
from stylefeatureeditor.weights.direction_files import (
    PUBLISHED,
    load_directions,
    read_direction_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from accelerate import Accelerator

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.generator.discriminator import Discriminator
    from stylefeatureeditor.model import Model, ModelConfig
    from stylefeatureeditor.records import Codes
    from stylefeatureeditor.training.phase import Rows


JUDGED_EDITS = 16  # held-out photos that every edit is judged on


@dataclass(frozen=True, kw_only=True)
class EditorTrainingConfig:
    """How H is trained; the defaults are the paper's on faces, `presets.py` has the others.

    Attributes:
        edit: terms of L_edit.
        inversion: terms of L_inv without the adversarial one.
        adversarial: that term, and D.
        attributes: what an attribute classifier asks of the photos' own edits; off in the paper.
        edit_weight: of L_edit.
        inversion_weight: of L_inv; 0 leaves it out, and D unless it is asked about edits.
        edit_codes: where w_E comes from: E, or I's own w.
        begin: with "random" weights, as the paper, or at the "difference" F_k - Delta, an edit that
            needs no H and that a short run improves on.
        ranger: optimiser of H.
        batch_norm: H's BatchNorm, see `phase.set_training`.
        seed: of the direction and strength of each step.
        samples: held-out photos in a sample picture.
    """

    edit: ImageLossConfig = field(default_factory=ImageLossConfig)
    inversion: ImageLossConfig = field(default_factory=ImageLossConfig)
    adversarial: AdversarialConfig = field(
        default_factory=lambda: AdversarialConfig(r1=R1Config(weight=0.0))
    )
    attributes: AttributeEditConfig = field(default_factory=AttributeEditConfig)
    edit_weight: float = 1.0
    inversion_weight: float = 1.0
    edit_codes: CodeSource = "e4e"
    begin: Literal["random", "difference"] = "random"
    ranger: RangerConfig = field(default_factory=RangerConfig)
    batch_norm: BatchNormMode = "batch"
    seed: int = 0
    samples: int = 8

    def __post_init__(self) -> None:
        if min(self.edit_weight, self.inversion_weight) < 0 or self.samples < 1:
            raise ConfigError(f"weights cannot be negative, samples must be at least 1: {self}")
        if self.attributes.weight and not self.edit_weight:
            raise ConfigError("attributes.weight asks about edits: edit_weight cannot be 0")
        if self.attributes.realism and not (self.adversarial.weight and self.attributes.weight):
            raise ConfigError(
                "attributes.realism asks D about edits: neither adversarial.weight nor "
                "attributes.weight can be 0"
            )
        if self.edit_weight == self.inversion_weight == 0:
            raise ConfigError("edit_weight and inversion_weight cannot both be 0")


@dataclass(frozen=True, kw_only=True)
class EditorRun(ModelRun):
    """Phase 2: train the Feature Editor, which completes a model.

    Attributes:
        directions: strengths by the name of a direction.
    """

    training: EditorTrainingConfig = field(default_factory=EditorTrainingConfig)
    directions: dict[str, tuple[float, ...]] = field(default_factory=dict)


class EditorForward(nn.Module):
    """H and the upper layers of G as one forward, as wrappers for several processes need it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.feature_editor = model.feature_editor
        self.delta_downsampler = model.delta_downsampler
        self.generator = model.generator
        self.layer = model.config.feature_layer

    def forward(self, features: Tensor, delta: Tensor | None, codes: Codes, rgb: Tensor) -> Tensor:
        """Return G(H(F_k, Delta), w_{k+1:N}), (B, 3, S, S); Delta None is zero.

        F_k is (B, C, S_F, S_F), Delta at the model's delta layer; `rgb` is what the codes, w or w'
        of an edit, draw up to layer k.
        """
        if delta is None:
            delta = torch.zeros_like(features)
        elif self.delta_downsampler is not None:
            delta = self.delta_downsampler(delta)
        changed = self.feature_editor(features, delta)
        return self.generator.synthesize_from(changed, codes, self.layer, rgb)


class EditorPhase(ModelPhase):
    """Trains `model.feature_editor`, with it `model.delta_downsampler` if there is one, and D.

    G, E and I are trained already and stay as they are; D is best the one of phase 1. For
    `held_out` see `Phase`. ConfigError if there is no direction.
    """

    trains = ("feature_editor", "delta_downsampler")

    def __init__(
        self,
        config: EditorTrainingConfig,
        model: Model,
        directions: Sequence[TrainingDirection],
        discriminator: Discriminator,
        networks: LossNetworks,
        held_out: HeldOut | None = None,
    ) -> None:
        if not directions:
            raise ConfigError("phase 2 needs at least one direction with its strengths")
        self.config = config
        self.model = model
        self.directions = tuple(directions)
        self.adversary = Adversary(config.adversarial, discriminator)
        self.held_out = held_out
        self.edit_loss = ImageLoss(config.edit, networks, discriminator)
        self.inversion_loss = ImageLoss(config.inversion, networks, discriminator)
        self.losses = {
            "first_discriminator_edit": self.edit_loss,
            "first_discriminator_inversion": self.inversion_loss,
        }
        self.attribute_loss = self._attribute_loss(networks)
        if config.begin == "difference":
            model.feature_editor.body.begin_at(1, -1)

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Prepare H, the Delta downsampler if there is one, and D."""
        return [self.prepare_model(accelerator, EditorForward), self.adversary.prepare(accelerator)]

    def train_step(self, photos: Tensor, step: int) -> Metrics:
        """Train H on photos (B, 3, S, S) in [-1, 1] and on an edit of drawn images, then D."""
        config = self.config
        metrics: Metrics = {}
        fakes: list[Tensor] = []  # for D
        # H's running statistics weigh the later pass more: the edit's, as in the release
        if config.inversion_weight:
            metrics = self._add_inversion_gradients(photos, step, fakes)
        if config.edit_weight:
            metrics |= self._add_edit_gradients(photos, step, fakes)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if fakes and self.adversary.active(step):
            # in turns, so that no group of D's minibatch spread holds one photo twice
            drawn = torch.stack(fakes, dim=1).flatten(0, 1)
            metrics |= self.adversary.train(photos, drawn, step)
        losses = (metrics.get(f"loss_{part}", 0.0) for part in ("edit", "inversion", "attributes"))
        return {"loss": sum(losses)} | metrics

    def _add_edit_gradients(self, photos: Tensor, step: int, fakes: list[Tensor]) -> Metrics:
        chosen, strength = self.choose(step)
        direction = chosen.direction
        with self.accelerator.autocast():
            pair = make_edit(self.model, photos, direction, strength, self.config.edit_codes)
        drawn = self.forward(pair.features, pair.delta, pair.codes, pair.rgb)  # X'
        image = self.edit_loss(drawn, pair.target)
        loss = self.config.edit_weight * image.total
        self.accelerator.backward(loss)
        metrics: Metrics = {"loss_edit": loss.detach()} | image.metrics("edit_")
        if self.attribute_loss is not None and chosen.attribute:
            with self.accelerator.autocast():
                start = begin_edit(self.model, photos, direction, strength)
            # X' of the photos themselves, by the Delta of their own edit pair
            drawn = self.forward(start.features, pair.delta, start.codes, start.rgb)
            metrics |= self._add_attribute_gradients(photos, drawn, chosen, strength, step)
            if self.config.attributes.realism:
                fakes.append(drawn.detach())
        return metrics

    def _add_attribute_gradients(
        self, photos: Tensor, drawn: Tensor, chosen: TrainingDirection, strength: float, step: int
    ) -> Metrics:
        """Add the gradients of A, and of D if it has a weight, for edits X' of the photos."""
        assert self.attribute_loss is not None
        weights, share = self.config.attributes, chosen.share(strength)
        total, terms = self.attribute_loss(drawn, photos, chosen.attribute, share)
        if weights.realism and self.adversary.active(step):
            real = self.adversary.ask(drawn)
            total = total + weights.realism * real
            terms["realism"] = real.detach()
        loss = weights.weight * total
        self.accelerator.backward(loss)
        return {"loss_attributes": loss.detach()} | {f"attribute_{k}": v for k, v in terms.items()}

    def _add_inversion_gradients(self, photos: Tensor, step: int, fakes: list[Tensor]) -> Metrics:
        config = self.config
        with self.accelerator.autocast():
            found = invert(self.model, photos)
        drawn = self.forward(found.features, None, found.codes, found.start.rgb)  # X^
        image = self.inversion_loss(drawn, photos)
        total = image.total
        metrics: Metrics = {**image.metrics("inversion_")}
        if self.adversary.active(step):
            adversarial = self.adversary.ask(drawn)
            total = total + config.adversarial.weight * adversarial
            metrics["adversarial"] = adversarial.detach()
        loss = config.inversion_weight * total
        self.accelerator.backward(loss)
        fakes.append(drawn.detach())
        return {"loss_inversion": loss.detach()} | metrics

    def choose(self, step: int) -> tuple[TrainingDirection, float]:
        """Return the direction and strength of a step, the same on all ranks."""
        draw = shared_generator(self.config.seed, step)
        chosen = self.directions[int(torch.randint(len(self.directions), (), generator=draw))]
        place = int(torch.randint(len(chosen.strengths), (), generator=draw))
        return chosen, chosen.strengths[place]

    def judge(self, photos: Tensor) -> Rows:
        """Return L2 and SSIM of X^, and of G(w_E), which the method starts from."""
        drawn, plain = self._redraw(photos)
        return likeness(drawn, photos) | likeness(plain, photos, "_e4e")

    def validate(self) -> dict[str, float]:
        """Return also L2 and SSIM of X' against X_E', over all directions at both ends."""
        if self.held_out is None:
            return {}
        edits = [
            (chosen.direction, strength)
            for chosen in self.directions
            for strength in {chosen.strengths[0], chosen.strengths[-1]}
        ]

        def judge_edits(places: Sequence[int]) -> Rows:
            photos = self.photos(places)
            found = [likeness(*self._edit(photos, *edit), of="_edit") for edit in edits]
            return {name: torch.stack([f[name] for f in found], 1) for name in found[0]}

        return super().validate() | means(self.judged(judge_edits, JUDGED_EDITS))

    def show(self, photos: Tensor) -> Rows:
        """Return X, X^, then X_E' and X' of the first direction at its last strength."""
        chosen = self.directions[0]
        drawn, _ = self._redraw(photos)
        edited, target = self._edit(photos, chosen.direction, chosen.strengths[-1])
        return {"photos": photos, "drawn": drawn, "target": target, "edited": edited}

    def _attribute_loss(self, networks: LossNetworks) -> AttributeEditLoss | None:
        if not self.config.attributes.weight:
            return None
        if networks.attributes is None:
            raise ConfigError(NO_CLASSIFIER)
        named = [chosen.attribute for chosen in self.directions if chosen.attribute]
        if not named:
            raise ConfigError(
                "attributes.weight asks about edits, but no direction names its attribute: fit "
                "them with `sfe directions fit --classifier`, or set it to 0"
            )
        for attribute in named:
            find_attribute(networks.attributes, attribute)  # refuses unknown ones
        return AttributeEditLoss(self.config.attributes, networks.attributes)

    def parts(self) -> dict[str, Any]:
        """See `Phase`."""
        return super().parts() | self.adversary.parts()

    def _edit(
        self, photos: Tensor, direction: EditDirection, strength: float
    ) -> tuple[Tensor, Tensor]:
        """Return X' and X_E'."""
        pair = make_edit(self.model, photos, direction, strength, self.config.edit_codes)
        plain = self.accelerator.unwrap_model(self.forward)
        return plain(pair.features, pair.delta, pair.codes, pair.rgb), pair.target

    def _redraw(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Return X^ and G(w_E)."""
        plain, found = self.accelerator.unwrap_model(self.forward), invert(self.model, photos)
        drawn = plain(found.features, None, found.codes, found.start.rgb)
        before = edit_codes(self.model, photos, self.config.edit_codes)
        return drawn, self.model.generator.synthesize(before)


def training_directions(
    folder: Path, config: ModelConfig, strengths: Mapping[str, tuple[float, ...]]
) -> list[TrainingDirection]:
    """Return a model folder's directions with strengths; DirectionError if one is not there."""
    known, layout = load_directions(folder, config.catalog), config.generator.style_layout()
    found = []
    for name, values in strengths.items():
        entry = known.find(name)
        direction = entry.load(folder / PUBLISHED, layout, read_direction_file)
        found.append(TrainingDirection(direction, values, entry.attribute))
    return found


def train_editor(config: EditorRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train H and leave a model folder; `out` is the run's folder, `resume` goes on.

    Raises:
        SfeError: see `set_up`, `training_directions` and `fit`.
    """
    training, asked = config.training, config.training.attributes
    given = set_up(
        config,
        "feature_editor",
        (training.edit, training.inversion),
        keep=("e4e", "inverter"),
        needs=("inverter", *(("e4e",) if training.edit_codes == "e4e" else ())),
        asks_classifier=asked.weight > 0,
        asks_discriminator=asked.realism > 0,
    )
    model, discriminator = given.model, given.discriminator
    discriminator = discriminator or fresh_discriminator(model.config.generator)
    directions = training_directions(given.start.folder, model.config, config.directions)
    if given.tuned:
        training = replace(training, begin="random")
    phase = EditorPhase(training, model, directions, discriminator, given.networks, given.held_out)
    result = fit(phase, given.images, config, out, resume=resume)
    return finish_run(result, given.start, "feature_editor", discriminator)
