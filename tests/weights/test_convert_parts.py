"""A published generator alone, through the command line."""

import pytest
import torch

from released import assert_close, golden, seeded_layout
from seeded import fixed_w, latent_avg
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.run_folder import load_generator
from stylefeatureeditor.weights.storage import load_tensors


def test_a_generator_alone_is_what_training_starts_from(tmp_path):
    content = {"g_ema": seeded_layout("generator_256", "decoder."), "latent_avg": latent_avg()}
    torch.save(content, tmp_path / "g.pt")
    words = ["models", "convert", f"--generator={tmp_path / 'g.pt'}", "-o", str(tmp_path / "made")]
    assert main(words) == 0
    assert (
        "sha256" in load_tensors(tmp_path / "made" / "generator.safetensors")[1]["converted_from"]
    )
    generator = load_generator(tmp_path / "made" / "generator.safetensors")
    codes = Codes(fixed_w("generator256.w", 2, generator.config.num_styles))
    pixels = generator.synthesize(codes)
    pooled = torch.nn.functional.adaptive_avg_pool2d(pixels, 64)
    numbers = golden("generator")
    assert_close(pooled, numbers["size256/pool64"], numbers["size256/stats"][1])


def test_a_file_of_another_kind_is_refused(tmp_path, capsys):
    torch.save({"g_ema": {"strange": torch.zeros(1)}}, tmp_path / "other.pt")
    command = ["models", "convert", f"--generator={tmp_path}/other.pt", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [([], "nothing to convert"), (["--e4e=e.pt"], "`sfe train e4e --tune-from e.pt`")],
)
def test_what_would_be_no_use_is_not_written(words, sentence, tmp_path, capsys):
    assert main(["models", "convert", *words, "-o", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
