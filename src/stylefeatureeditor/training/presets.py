"""Named settings of whole runs: the paper's, the release's, cars, Table 3's ablations.

    run = presets.released_inverter()
    run = presets.without_fuser(run)              an ablation changes a preset and returns another

Where paper and release differ stands beside each preset and in docs/adr/0002. Runs of small models
are in `small_presets.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING, TypeVar

from stylefeatureeditor.data.images import DataConfig
from stylefeatureeditor.editing.delta import DeltaDownsamplerConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.training.attributes import AttributeTrainingConfig
from stylefeatureeditor.training.e4e import E4eTrainingConfig, LatentDiscriminatorConfig
from stylefeatureeditor.training.feature_editor import EditorTrainingConfig
from stylefeatureeditor.training.inverter import InverterTrainingConfig
from stylefeatureeditor.training.loop import LoopConfig
from stylefeatureeditor.training.losses import R1Config

if TYPE_CHECKING:
    from stylefeatureeditor.backbones.iresnet import IResNetConfig
    from stylefeatureeditor.training.image_losses import Identity

Directions = dict[str, tuple[float, ...]]  # name in the catalogue -> strengths

FACE_DIRECTIONS: Directions = {  # the release's
    "age": (-7.0, -5.0, 5.0, 7.0, 10.0),
    "fs_makeup": (5.0, 8.0, 12.0),
    "afro": (0.03, 0.07),
    "angry": (0.06, 0.1),
    "purple_hair": (0.07, 0.1, 0.12),
    "glasses": (-10.0, -7.0),
    "face_roundness": (-13.0, -7.0, 7.0, 13.0),
    "rotation": (-5.0, -3.0, -1.0, 1.0, 3.0, 5.0),
    "bobcut": (0.07, 0.12, 0.18),
    "bowlcut": (0.07, 0.14),
    "mohawk": (0.07, 0.1),
    "blond_hair": (-8.0, -4.0, 4.0, 8.0),
    "fs_smiling": (-6.0, -3.0, 3.0, 6.0, 9.0),
}
FEW_DIRECTIONS = ("age", "afro", "angry", "face_roundness", "bowlcut", "blond_hair")  # D_small
# The paper names no strengths for cars; these are GANSpace's own, as in the catalogue.
CAR_DIRECTIONS: Directions = {"cube": (25.0,), "color": (-8.0,), "grass": (-18.0,)}

CAR_IDENTITY = 0.5  # lambda_id of App. 7

BATCH = 8  # App. 7
RELEASED_SIDE = 256  # where the release takes its image losses


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Networks that a run reads: files, model folders or other runs' folders.

    Attributes:
        model: what the run starts from.
        generator: G alone, in place of `model`.
        discriminator: D; None takes the one beside what the run starts from, else a fresh one.
        attributes: the classifier of losses that have a weight for its features.
        tune_from: model or run whose network of the run's phase is trained on; None starts anew.
    """

    model: Path | None = None
    generator: Path | None = None
    discriminator: Path | None = None
    attributes: Path | None = None
    tune_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class E4eRun:
    """A run that trains E. Each field is described where its type is."""

    inputs: Inputs = field(default_factory=Inputs)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: E4eTrainingConfig = field(default_factory=E4eTrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True, kw_only=True)
class InverterRun:
    """A run of phase 1."""

    inputs: Inputs = field(default_factory=Inputs)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: InverterTrainingConfig = field(default_factory=InverterTrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True, kw_only=True)
class EditorRun:
    """A run of phase 2; `directions` are names and strengths."""

    inputs: Inputs = field(default_factory=Inputs)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: EditorTrainingConfig = field(default_factory=EditorTrainingConfig)
    directions: Directions = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True, kw_only=True)
class AttributesRun:
    """A run that trains the attribute classifier.

    `labels` is its table; None takes the one that lies with the images.
    """

    labels: Path | None = None
    training: AttributeTrainingConfig = field(default_factory=AttributeTrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


MethodRun = TypeVar("MethodRun", InverterRun, EditorRun)
ModelRun = TypeVar("ModelRun", E4eRun, InverterRun, EditorRun)


# --- the published recipes -------------------------------------------------------------------


def published_e4e() -> E4eRun:
    """Return e4e's own recipe for faces: 200,000 steps of 8."""
    return E4eRun(loop=LoopConfig(steps=200_000, batch_size=BATCH, find_unused_parameters=True))


def psp_e4e() -> E4eRun:
    """Return pSp's recipe for faces on E: the image loss alone, all styles from the start.

    E's styles are style 0 plus a head each where pSp's are a head each, and LPIPS is VGG's where
    its release takes AlexNet's. Weights, Ranger's rate and batch are the release's, the steps its
    default.
    """
    training = E4eTrainingConfig(
        delta=0.0,
        latent=LatentDiscriminatorConfig(weight=0.0),
        progressive_every=0,
        zero_heads=False,
    )
    return E4eRun(training=training, loop=LoopConfig(steps=500_000, batch_size=BATCH))


def paper_inverter() -> InverterRun:
    """Return phase 1 as the paper describes it.

    L = L_im(X, X^) + L_im(X, X^_w) + 0.01 ||F_k||_2 at full size, without blending; D and its loss
    from step 14,000, no R1; 37,500 steps of Ranger at 2e-4.
    """
    return InverterRun(loop=LoopConfig(steps=37_500, batch_size=BATCH))


def released_inverter() -> InverterRun:
    """Return phase 1 as the release runs it.

    L is a mean over the concatenated 2B batch of X^ and X^_w, half of the paper's sum, at 256 px,
    with 0.01 MSE(F_k, F_w); F_k is blended in over 10,000 steps; D, its loss and R1 from step
    45,000; 300,000 steps of Ranger at 1e-4. D is asked once about X^ and X^_w together: the paper
    does not say, and both presets do so.
    """
    run = paper_inverter()
    training = replace(
        run.training,
        image=replace(run.training.image, side=RELEASED_SIDE),
        adversarial=replace(run.training.adversarial, start=45_000, r1=R1Config()),
        pair="mean",
        feature_form="distance",
        blend_steps=10_000,
        ranger=replace(run.training.ranger, lr=1e-4),
    )
    return replace(run, training=training, loop=replace(run.loop, steps=300_000))


def paper_editor() -> EditorRun:
    """Return phase 2 as the paper describes it.

    L = L_edit + L_inv at full size, 0.01 adv in L_inv, no R1; 20,000 steps of Ranger at 2e-4.
    """
    loop = LoopConfig(steps=20_000, batch_size=BATCH)
    return EditorRun(directions=dict(FACE_DIRECTIONS), loop=loop)


def released_editor() -> EditorRun:
    """Return phase 2 as the release runs it.

    L2, LPIPS and ID are means over the concatenated 2B batch of X^ and X^', (L_edit + L_inv) / 2,
    at 256 px; adv is a mean over X^ alone and keeps its 0.01, which is 0.02 within the half; R1;
    200,000 steps of Ranger at 1e-4. H sees the inversion before the edit: the paper does not say,
    and both presets do so.
    """
    run = paper_editor()
    training = replace(
        run.training,
        edit=replace(run.training.edit, side=RELEASED_SIDE),
        inversion=replace(run.training.inversion, side=RELEASED_SIDE),
        adversarial=replace(run.training.adversarial, weight=0.02, r1=R1Config()),
        edit_weight=0.5,
        inversion_weight=0.5,
        ranger=replace(run.training.ranger, lr=1e-4),
    )
    return replace(run, training=training, loop=replace(run.loop, steps=200_000))


# --- cars (docs/adr/0008) --------------------------------------------------------------------


def cars_model(model: ModelConfig | None = None, *, delta_layer: int = 11) -> ModelConfig:
    """Return a 512 px model that takes Delta at `delta_layer`; 9 is the release's, without a layer.

    Args:
        model: the model to start from; None is the paper's, with the published cars' directions.
        delta_layer: where Delta is taken.
    """
    base = sized_model(ModelConfig() if model is None else model, 512)
    catalog = "cars" if model is None else model.catalog
    base = replace(base, catalog=catalog, delta_layer=base.feature_layer, delta_downsampler=None)
    if delta_layer == base.feature_layer:
        return base
    channels, side = base.generator.layer_shape(delta_layer)
    wanted_channels, wanted_side = base.generator.layer_shape(base.feature_layer)
    if side % wanted_side:
        raise ConfigError(f"Delta's layer {delta_layer} must be as fine as layer k or finer")
    downsampler = DeltaDownsamplerConfig(
        in_channels=channels, out_channels=wanted_channels, stride=side // wanted_side
    )
    return replace(base, delta_layer=delta_layer, delta_downsampler=downsampler)


def cars_e4e(run: E4eRun) -> E4eRun:
    """Return e4e's recipe on cars: MoCo's weight 0.5 in place of ArcFace's 0.1."""
    return replace(compared_by(run, "moco", CAR_IDENTITY), model=cars_model())


def cars_inverter(run: InverterRun) -> InverterRun:
    """Return phase 1 on cars, its identity loss as in `cars_e4e`."""
    return replace(compared_by(run, "moco", CAR_IDENTITY), model=cars_model())


def cars_editor(run: EditorRun) -> EditorRun:
    """Return phase 2 on cars, the layer that Delta passes included."""
    return replace(
        compared_by(run, "moco", CAR_IDENTITY),
        model=cars_model(),
        directions=dict(CAR_DIRECTIONS),
        loop=replace(run.loop, find_unused_parameters=True),
    )


def compared_by(run: ModelRun, features: Identity, weight: float | None = None) -> ModelRun:
    """Let the identity losses of a run compare these features; None keeps their weights."""
    losses = {}
    for name in ("edit", "inversion") if isinstance(run, EditorRun) else ("image",):
        loss = getattr(run.training, name)
        share = loss.identity if weight is None else weight
        losses[name] = replace(loss, identity=share, identity_features=features)
    return replace(run, training=replace(run.training, **losses))


# --- ablations of Table 3; "without H" is a switch of the evaluation --------------------------


def without_fuser(run: MethodRun) -> MethodRun:
    """F_k = F_pred; both phases."""
    inverter = replace(run.model.inverter, fuser=None)
    return replace(run, model=replace(run.model, inverter=inverter))


def at_layer(run: MethodRun, layer: int = 5) -> MethodRun:
    """Take F_k at another layer k, with an Inverter that predicts its shape; both phases.

    Stage 3 of the trunk, which F_pred is read from, halves the side as often as it needs to.

    Raises:
        ConfigError: the layer is finer than stage 2 of the trunk.
    """
    model = run.model
    channels, side = model.generator.layer_shape(layer)
    trunk: IResNetConfig = model.inverter.encoder.trunk
    stage2_side = model.encoder_size // (trunk.strides[0] * trunk.strides[1])
    if stage2_side % side:
        raise ConfigError(f"layer {layer} is {side} cells wide, the trunk has {stage2_side} there")
    strides = (*trunk.strides[:2], stage2_side // side, trunk.strides[3])
    encoder = replace(
        model.inverter.encoder, feature_channels=channels, trunk=replace(trunk, strides=strides)
    )
    fuser = model.inverter.fuser and replace(model.inverter.fuser, channels=channels)
    changed = replace(
        model,
        feature_layer=layer,
        delta_layer=layer,
        delta_downsampler=None,
        inverter=replace(model.inverter, encoder=encoder, fuser=fuser),
        feature_editor=replace(model.feature_editor, channels=channels),
    )
    return replace(run, model=changed)


def without_inversion_loss(run: EditorRun) -> EditorRun:
    """Phase 2 on edits alone."""
    return replace(run, training=replace(run.training, inversion_weight=0.0))


def without_e4e(run: EditorRun) -> EditorRun:
    """Phase 2 with Delta from the Inverter's own codes."""
    return replace(run, training=replace(run.training, edit_codes="inverter"))


def with_few_directions(run: EditorRun) -> EditorRun:
    """Phase 2 on D_small; on another set than the faces', on its first half."""
    names = [name for name in FEW_DIRECTIONS if name in run.directions]
    names = names or list(run.directions)[: max(1, len(run.directions) // 2)]
    return replace(run, directions={name: run.directions[name] for name in names})


# --- other sizes -----------------------------------------------------------------------------


def sized_model(model: ModelConfig, size: int) -> ModelConfig:
    """Return a model for a generator of another size, all other sizes kept."""
    generator = replace(model.generator, size=size)
    styles = generator.num_styles
    encoder = replace(model.inverter.encoder, num_styles=styles)
    return replace(
        model,
        generator=generator,
        e4e=replace(model.e4e, num_styles=styles),
        inverter=replace(model.inverter, encoder=encoder),
    )
