"""Published face parsers, found in the cache and told apart by their tensors."""

import pytest
import torch

from stylefeatureeditor.errors import MaskError, WeightsError
from stylefeatureeditor.masks import released as face_parsers
from stylefeatureeditor.masks.bisenet import (
    BiSeNet,
    BiSeNetConfig,
    released_bisenet_keys,
)
from stylefeatureeditor.masks.bisenet_parser import BiSeNetParser
from stylefeatureeditor.masks.farl import FarlConfig, FarlNetwork, released_farl_keys
from stylefeatureeditor.masks.farl_parser import FarlParser
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


def published(network, keys, path):
    """Write a file of the published layout; every tensor is one number, repeated."""
    sizes = network.state_dict()
    state = {key: torch.tensor(0.5).expand(sizes[ours].shape) for key, ours in keys.items()}
    torch.save(state, path)
    return path


@pytest.fixture
def bisenet(tmp_path):
    with torch.device("meta"):
        network = BiSeNet(BiSeNetConfig())
    return published(network, released_bisenet_keys(network), tmp_path / "bisenet.pth")


@pytest.fixture
def farl(tmp_path, monkeypatch):
    monkeypatch.setattr(face_parsers, "farl_lapa", lambda: SMALL_FARL)
    with torch.device("meta"):
        network = FarlNetwork(SMALL_FARL)
    return published(network, released_farl_keys(network), tmp_path / "farl.pt")


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
        ({"cp.resnet.conv1.weight": torch.zeros(64, 3, 7, 7)}, "keys missing"),
        ({"g_ema": torch.zeros(1)}, "check that this is the right file"),
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
