"""Networks run by something else: here by PyTorch itself, so that only the joints are tested."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.records import Codes
from stylefeatureeditor.runtimes.graphs import inference_graphs, join_styles, split_styles
from stylefeatureeditor.runtimes.stand_ins import assemble
from tiny import tiny_config, tiny_directions, tiny_editor, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")


class Plain:
    def __init__(self, graph):
        self.graph = graph

    def __call__(self, *inputs):
        assert [tuple(x.shape[1:]) for x in inputs] == list(self.graph.inputs.values())
        outputs = self.graph.network(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def stood_in(model):
    runners = {graph.name: Plain(graph) for graph in inference_graphs(model)}
    return assemble(model.config, model.generator.latent_avg, runners, model.fingerprint)


def without_fuser():
    encoder = tiny_config().inverter.encoder
    return tiny_model(inverter=InverterConfig(encoder=encoder, fuser=None))


def even_layer():
    """F_k is the first layer of its side, so the image so far has half of it."""
    tiny = tiny_config().inverter.encoder
    trunk = replace(tiny.trunk, strides=(2, 1, 1, 2))
    encoder = replace(tiny, feature_channels=8, trunk=trunk)
    return tiny_model(
        feature_layer=4,
        delta_layer=4,
        inverter=InverterConfig(encoder=encoder, fuser=FuserConfig(channels=8)),
        feature_editor=FeatureEditorConfig(channels=8),
    )


@pytest.mark.parametrize(
    "make",
    [tiny_model, lambda: tiny_model(cars=True), without_fuser, even_layer],
    ids=["faces", "cars", "no Fuser", "even k"],
)
def test_the_pipeline_sees_no_difference(make):
    model = make()
    editor = tiny_editor(tiny_directions())
    edits = {editor.direction("smile"): 2.0, editor.direction("age"): -1.0}
    own, other = Sfe(model), Sfe(stood_in(model))
    assert own.fingerprint == other.fingerprint
    expected, got = (
        pipeline.edit(pipeline.invert(tiny_photos(2)), edits) for pipeline in (own, other)
    )
    torch.testing.assert_close(expected, got, rtol=1e-4, atol=2e-5)


def test_graphs_draw_from_their_own_layer_and_sizes_only():
    model = stood_in(tiny_model())
    codes = Codes(torch.zeros(1, 8, 12))
    with pytest.raises(ConfigError, match="layer 3 only, not at 4"):
        model.generator.run_to(codes, 4)
    features = torch.zeros(1, 16, 8, 8)
    assert model.generator.synthesize_from(features, codes, 3, size=16).shape[-1] == 16
    with pytest.raises(ConfigError, match="16 px as a preview, not 8 px"):
        model.generator.synthesize_from(features, codes, 3, size=8)
    with pytest.raises(ConfigError, match="stored noise"):
        model.generator.synthesize(codes, random_noise=True)


def test_the_whole_generator_is_its_two_halves():
    model = tiny_model()
    codes = Codes(torch.randn(2, 8, 12))
    expected, got = model.generator.synthesize(codes), stood_in(model).generator.synthesize(codes)
    torch.testing.assert_close(expected, got, rtol=1e-4, atol=2e-5)


def test_joining_style_offsets_can_be_undone():
    layout = tiny_config().generator.style_layout()
    joined = torch.randn(2, sum(layout.conv) + sum(layout.rgb))
    parts = split_styles(joined, layout)
    assert tuple(style.shape[1] for style in parts.conv) == layout.conv
    codes = Codes(torch.zeros(2, 8, 12), parts)
    assert torch.equal(join_styles(codes, layout), joined)
    assert not join_styles(Codes(torch.zeros(2, 8, 12)), layout).any()
