"""Published networks alone, through the command line."""

import pytest
import torch

from released import assert_close, golden, seeded_layout
from seeded import fixed_w, latent_avg
from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.run_folder import load_generator
from stylefeatureeditor.weights.storage import load_tensors


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    generator = {"g_ema": seeded_layout("generator_256", "decoder."), "latent_avg": latent_avg()}
    torch.save(generator, folder / "generator.pt")
    torch.save(seeded_layout("ir_se50", "id_loss.facenet."), folder / "trunk.pth")
    options = [f"--generator={folder}/generator.pt", f"--ir-se50={folder}/trunk.pth"]
    assert main(["models", "convert", *options, "-o", str(folder / "parts")]) == 0
    return folder / "parts"


def test_a_generator_alone_is_what_training_starts_from(parts):
    generator = load_generator(parts / "generator.safetensors")
    codes = Codes(fixed_w("generator256.w", 2, generator.config.num_styles))
    pixels = generator.synthesize(codes)
    pooled = torch.nn.functional.adaptive_avg_pool2d(pixels, 64)
    numbers = golden("generator")
    assert_close(pooled, numbers["size256/pool64"], numbers["size256/stats"][1])


def test_a_trunk_alone_keeps_every_tensor(parts):
    tensors, header = load_tensors(parts / "ir_se50.safetensors")
    assert header["part"] == "ir_se50"
    assert "sha256" in header["converted_from"]
    IRTrunk(IRConfig()).load_state_dict(tensors)  # strict


def test_a_file_of_another_kind_is_refused(tmp_path, capsys):
    torch.save({"g_ema": {"strange": torch.zeros(1)}}, tmp_path / "other.pt")
    command = ["models", "convert", f"--e4e={tmp_path}/other.pt", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "e4e.safetensors").exists()


def test_nothing_to_convert_is_said(tmp_path, capsys):
    assert main(["models", "convert", "-o", str(tmp_path / "out")]) == 2
    assert "nothing to convert" in capsys.readouterr().err
