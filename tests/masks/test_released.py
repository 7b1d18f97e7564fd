"""Published face parsers, found in the cache and told apart by their tensors."""

import pytest
import torch

from stylefeatureeditor.errors import MaskError, WeightsError
from stylefeatureeditor.masks import released as face_parsers
from stylefeatureeditor.masks.bisenet import BiSeNet, BiSeNetConfig, BiSeNetParser
from stylefeatureeditor.masks.farl import FarlConfig, FarlNetwork, FarlParser
from stylefeatureeditor.masks.released import find_face_parser, load_face_parser
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.sources import find_sources

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL_FARL = FarlConfig(
    num_classes=11,
    input_size=32,
    patch=8,
    width=8,
    layers=4,
    heads=2,
    taps=(0, 1, 2, 3),
    head_channels=8,
    output_size=32,
)


def published(network, prefix, path, further=()):
    """Write a file of the published layout; every tensor is one number, repeated."""
    state = {
        f"{prefix(key)}{key}": torch.tensor(0.5).expand(value.shape)
        for key, value in network.state_dict().items()
        if value.is_floating_point()  # some files lack the counters of batch norms
    }
    torch.save({**state, **dict.fromkeys(further, torch.zeros(3))}, path)
    return path


@pytest.fixture
def bisenet(tmp_path):
    with torch.device("meta"):
        network = BiSeNet(BiSeNetConfig())
    return published(
        network, lambda _: "", tmp_path / "bisenet.pth", ["conv_out16.conv_out.weight"]
    )


@pytest.fixture
def farl(tmp_path, monkeypatch):
    monkeypatch.setattr(face_parsers, "FarlConfig", lambda: SMALL_FARL)
    with torch.device("meta"):
        network = FarlNetwork(SMALL_FARL)
    return published(
        network,
        lambda key: "head." if key.startswith("head.") else "backbone.",
        tmp_path / "farl.pt",
        ["backbone.visual.proj"],
    )


def test_each_file_becomes_its_parser(bisenet, farl):
    parser = load_face_parser(bisenet)
    assert isinstance(parser, BiSeNetParser)
    assert isinstance(load_face_parser(farl), FarlParser)
    weights = parser.network.state_dict().values()
    assert all((value == 0.5).all() for value in weights if value.is_floating_point())


def test_the_releases_parser_serves_if_both_are_there(bisenet, farl):
    files_folder().mkdir(parents=True)
    places = {
        name: files_folder() / find_sources(name)[0].file_name for name in ("bisenet", "farl-lapa")
    }
    with pytest.raises(MaskError, match="none is on disk: `sfe models pull farl-lapa`"):
        find_face_parser()
    bisenet.rename(places["bisenet"])
    assert isinstance(find_face_parser(), BiSeNetParser)
    farl.rename(places["farl-lapa"])
    assert isinstance(find_face_parser(), FarlParser)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([torch.zeros(1)], "no table of tensors"),
        ({"epoch": 3}, "no table of tensors"),
        ({0: torch.zeros(1)}, "no table of tensors"),
        ({"cp.resnet.conv1.weight": torch.zeros(64, 3, 7, 7)}, "tensors are missing"),
        ({"g_ema": torch.zeros(1)}, "not a published face parser"),
        ({"cp.resnet.fc.weight": torch.zeros(1)}, "and 1 unknown"),
    ],
)
@pytest.mark.usefixtures("farl")
def test_another_file_is_refused(tmp_path, content, sentence):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=sentence):
        load_face_parser(path)


def test_a_missing_or_damaged_file_is_refused(bisenet, tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_face_parser(tmp_path / "none.pth")
    bisenet.write_bytes(bisenet.read_bytes()[:1000])
    with pytest.raises(WeightsError):
        load_face_parser(bisenet)
