"""Named settings for the command line: a preset's name and what there is to start from, to a run.

    generator    standard  one GPU, any size of 64 to 1024       small, tiny  a CPU
    e4e          paper     the published recipe                  small, tiny
                 psp       pSp's losses, no D_w
                 cars      the published recipe with MoCo
    inverter     paper, released, cars, cars-released            small, tiny
    editor       the same                                        small, tiny
    attributes   small, tiny

`small` is the built-in model's way, `tiny` a smoke test's: their schedules are shares of the run
and stretch with its steps. Ablations are Table 3's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING

from stylefeatureeditor.data.images import DataConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.training import presets, small_presets
from stylefeatureeditor.training.generator import (
    GeneratorTrainingConfig,
    heuristic_gamma,
    preset,
)
from stylefeatureeditor.training.loop import LoopConfig
from stylefeatureeditor.training.parts import sized

if TYPE_CHECKING:
    from stylefeatureeditor.training.presets import (
        AttributesRun,
        Directions,
        E4eRun,
        EditorRun,
        InverterRun,
    )

SMALL_UP_TO = 128  # px: below, `small` is what suits if nothing else is asked for
SMALL_R1 = {32: 0.1, 64: 0.3, 128: 1.0}  # docs/LOG.md
TINY_STEPS = {"generator": 300, "e4e": 200, "inverter": 300, "editor": 200, "attributes": 150}
BUILTIN_STEPS = {"e4e": 12_000, "inverter": 20_000, "editor": 12_000}
LAYERS_COARSER = 4  # from 64 x 64 to 16 x 16


@dataclass(frozen=True, kw_only=True)
class GeneratorRun:
    """A run that trains G. Each field is described where its type is.

    `grow_from` is the folder of a run of half the size; None begins with nothing.
    """

    grow_from: Path | None = None
    training: GeneratorTrainingConfig = field(default_factory=GeneratorTrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


def default_preset(phase: str, size: int) -> str:
    """Return the preset that suits a generator of `size` px."""
    if size <= SMALL_UP_TO or phase == "attributes":
        return "small"
    return "standard" if phase == "generator" else "paper"


def generator_run(name: str, size: int) -> GeneratorRun:
    """Return a run that trains G.

    Args:
        name: "standard", "small" or "tiny".
        size: side of its images.

    Raises:
        ConfigError: the size is no power of two, or "standard" has none of that size.
    """
    if name == "standard":
        training = preset(size)
        batch = {64: 32, 128: 32, 256: 16, 512: 8}.get(size, 4)
        return GeneratorRun(training=training, loop=LoopConfig(steps=200_000, batch_size=batch))
    base, widest, style, mapping = (
        (2048, 128, 256, 4) if name == "small" else (16 * size, 32, 64, 2)
    )
    training = GeneratorTrainingConfig(
        network=GeneratorConfig(
            size=size,
            style_dim=style,
            mapping_layers=mapping,
            channel_base=base,
            channel_max=widest,
        ),
        discriminator=DiscriminatorConfig(size=size, channel_base=base, channel_max=widest),
        lr_generator=2.5e-3,
        lr_discriminator=2.5e-3,
        r1_gamma=SMALL_R1.get(size, heuristic_gamma(size, 16)),
        path_weight=0.0,
        noise=False,
    )
    if name == "small":
        return GeneratorRun(training=training, loop=_small_loop(100_000, 500))
    training = replace(training, average_images=500.0, average_ramp=0.3, latent_decay=0.98)
    return GeneratorRun(training=training, loop=_small_loop(TINY_STEPS["generator"], 100))


def model_config(
    name: str, generator: GeneratorConfig, start: ModelConfig | None = None
) -> ModelConfig:
    """Return the sizes of the other networks for a trained generator.

    Args:
        name: of the preset.
        generator: G's sizes.
        start: of the model that the run starts from, whose sizes stay; only the layer of Delta
            and what follows from it is the cars presets'. None is a generator alone.

    Raises:
        ConfigError: the preset does not fit the generator.
    """
    if name.startswith("cars"):
        if replace(generator, clamp=None) != presets.cars_model().generator:
            raise ConfigError(
                f"the preset {name} is for StyleGAN2's 512 px car generator, got {generator}"
            )
        released = name == "cars-released"  # it has no layer for Delta: 9 is k (docs/adr/0008)
        cars = presets.cars_model(start, delta_layer=9 if released else 11)
        return replace(cars, generator=generator)
    if start is not None:
        return start
    if name in ("small", "tiny"):
        side = generator.size // 4
        layers = range(generator.num_layers, 0, -1)
        layer = next(layer for layer in layers if generator.side(layer) == side)  # RGB reads it
        if name == "small":
            return small_presets.small_model("faces", generator, layer, width=32)
        return small_presets.small_model("tiny", generator, layer, width=8, residual_layers=1)
    return sized(ModelConfig(), generator)


def e4e_run(name: str, model: ModelConfig, steps: int | None = None) -> E4eRun:
    """Return a run that trains E."""
    if name == "paper":
        return replace(presets.published_e4e(), model=model)
    if name == "psp":
        return replace(presets.psp_e4e(), model=model)
    if name == "cars":
        return replace(presets.cars_e4e(presets.published_e4e()), model=model)
    return small_presets.small_e4e(model, steps or _steps("e4e", name))


def inverter_run(
    name: str, model: ModelConfig, ablation: str | None = None, steps: int | None = None
) -> InverterRun:
    """Return a run of phase 1."""
    if name in ("small", "tiny"):
        run = small_presets.small_inverter(model, steps or _steps("inverter", name))
    else:
        released = name.endswith("released")
        run = presets.released_inverter() if released else presets.paper_inverter()
        run = presets.cars_inverter(run) if name.startswith("cars") else run
        run = replace(run, model=model)
    if ablation == "without-fuser":
        return presets.without_fuser(run)
    if ablation == "coarser-layer":
        return presets.at_layer(run, max(1, run.model.feature_layer - LAYERS_COARSER))
    return run


def editor_run(
    name: str,
    model: ModelConfig,
    directions: Directions,
    ablation: str | None = None,
    steps: int | None = None,
) -> EditorRun:
    """Return a run of phase 2.

    Args:
        name: of the preset.
        model: of phase 1.
        directions: the model's own, for presets that name none.
        ablation: one of Table 3's.
        steps: of the run, for presets whose schedule stretches; None is the preset's own number.
    """
    if name in ("small", "tiny"):
        run = small_presets.small_editor(model, steps or _steps("editor", name), directions)
    else:
        released = name.endswith("released")
        run = presets.released_editor() if released else presets.paper_editor()
        run = presets.cars_editor(run) if name.startswith("cars") else run
        named = run.directions if model.catalog else directions
        run = replace(run, model=model, directions=named)
    if ablation == "without-inversion-loss":
        return presets.without_inversion_loss(run)
    if ablation == "without-e4e":
        return presets.without_e4e(run)
    return presets.with_few_directions(run) if ablation == "few-directions" else run


def attributes_run(name: str) -> AttributesRun:
    """Return a run that trains the attribute classifier."""
    if name == "small":
        return small_presets.small_attributes()
    run = small_presets.small_attributes(32, TINY_STEPS["attributes"])
    network = replace(run.training.network, channels=(8, 16, 32, 64))
    training = replace(run.training, network=network)
    return replace(run, training=training, loop=replace(run.loop, batch_size=32))


def _steps(phase: str, name: str) -> int:
    return TINY_STEPS[phase] if name == "tiny" else BUILTIN_STEPS[phase]


def _small_loop(steps: int, every: int) -> LoopConfig:
    return LoopConfig(
        steps=steps,
        batch_size=16,
        log_every=50,
        validate_every=every,
        sample_every=every,
        save_every=every,
        keep=2,
    )
