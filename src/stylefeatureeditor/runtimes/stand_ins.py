"""A Model whose networks are run by an engine; the pipeline uses it like any other.

Only networks are replaced: what joins them (Eq. 1-7, latent_avg, masks, edits) is the same code on
every backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import Generator, PartialImage
from stylefeatureeditor.model import Model
from stylefeatureeditor.runtimes.graphs import join_styles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig, Padding
    from stylefeatureeditor.model import ModelConfig
    from stylefeatureeditor.records import Codes

    Runner = Callable[..., tuple[Tensor, ...]]  # a graph: tensors -> float32 ones on their device


class StandIn(nn.Module):
    """A network of any inputs; one output, or a tuple of several."""

    def __init__(self, run: Runner) -> None:
        super().__init__()
        self.run = run

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the graph."""
        outputs = self.run(*inputs)
        return outputs[0] if len(outputs) == 1 else outputs


class StandInGenerator(Generator):
    """G's two halves around layer k, run by an engine; it draws from no other layer."""

    def __init__(
        self,
        config: GeneratorConfig,
        latent_avg: Tensor,
        layer: int,
        delta_layer: int,
        runners: Mapping[str, Runner],
    ) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.register_buffer("latent_avg", latent_avg)
        self.layer = layer
        self.delta_layer = delta_layer
        self.runners = runners
        for name, runner in runners.items():
            if isinstance(runner, nn.Module):  # so that it moves with the others
                self.add_module(f"runner_{name}", runner)

    @property
    def is_fixed(self) -> bool:
        """Whether its engine runs where it is, and nowhere else."""
        return not all(isinstance(runner, nn.Module) for runner in self.runners.values())

    def run_to(self, codes: Codes, layer: int, padding: Padding | None = None) -> PartialImage:
        """Run the layers 0..k."""
        if layer != self.layer or padding is not None:
            raise ConfigError(f"these graphs stop at layer {self.layer} only, not at {layer}")
        return PartialImage(*self._runner("generator_low")(*self._codes(codes)))

    def modulation(self, codes: Codes) -> Tensor:
        """Refuse: graphs do not give out their affine layers."""
        del codes
        raise ConfigError("DeltaEdit needs the networks themselves: take the backend torch")

    def features(self, codes: Codes, layer: int) -> Tensor:
        """Return F_w at layer k, or where Delta is taken."""
        if layer == self.layer or layer != self.delta_layer:
            return self.run_to(codes, layer).features
        return self._runner("generator_delta")(*self._codes(codes))[0]

    def synthesize(self, codes: Codes, *, random_noise: bool = False) -> Tensor:
        """Return X = G(w), through both halves."""
        if random_noise:
            raise ConfigError("graphs draw with the stored noise only")
        start = self.run_to(codes, self.layer)
        return self.synthesize_from(start.features, codes, self.layer, start.rgb)

    def synthesize_from(
        self,
        features: Tensor,
        codes: Codes,
        layer: int,
        rgb: Tensor | None = None,
        *,
        size: int | None = None,
    ) -> Tensor:
        """Return G(F_k, w_{k+1:N}), at the generator's side or the preview's."""
        if rgb is None:
            rgb = self.run_to(codes, layer).rgb
        whole = size in (None, self.config.size)
        run = self._runner("generator_high" if whole else "preview")
        (pixels,) = run(features, *self._codes(codes), rgb)
        if size not in (None, pixels.shape[-1]):
            raise ConfigError(
                f"these graphs draw {self.config.size} px, and {pixels.shape[-1]} px as a preview, "
                f"not {size} px"
            )
        return pixels

    def _codes(self, codes: Codes) -> tuple[Tensor, Tensor]:
        return codes.wplus, join_styles(codes, self.config.style_layout())

    def _runner(self, name: str) -> Runner:
        if name not in self.runners:
            raise ConfigError(f"this model was exported without the graph {name}")
        return self.runners[name]


def assemble(
    config: ModelConfig,
    latent_avg: Tensor,
    runners: Mapping[str, Runner],
    source_fingerprint: str,
) -> Model:
    """Return a model whose networks are run by engines."""
    with torch.device("meta"):  # the networks that are replaced take no memory
        model = Model(config)
    model.generator = StandInGenerator(
        config.generator, latent_avg, config.feature_layer, config.delta_layer, runners
    )
    for owner, names in (
        (model, ("e4e", "feature_editor", "delta_downsampler")),
        (model.inverter, ("encoder", "fuser")),
    ):
        for name in names:
            if getattr(owner, name) is not None:
                setattr(owner, name, StandIn(runners[name]))
    model.source_fingerprint = source_fingerprint
    return model.eval()
