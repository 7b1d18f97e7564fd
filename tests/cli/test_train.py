"""The whole chain through the command line, as runs/tiny_cpu.sh goes, on drawn images of 32 px."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawn_faces import SIDE, write_faces
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.cli.train import _sentence, options
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.presets import ABLATIONS, PRESETS
from stylefeatureeditor.weights.checkpoint import load_model
from stylefeatureeditor.weights.configs import read_mapping
from stylefeatureeditor.weights.storage import load_tensors

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = (
    "--preset=tiny",
    "--loop.batch-size=4",
    "--loop.no-tensorboard",
    "--loop.device=cpu",
    "--loop.log-every=1",
    "--data.where=split=train",
    "--data.test-where=split=test",
    "--data.workers=1",
)
NARROW = (
    "--training.network.channel-max=8",
    "--training.discriminator.channel-max=8",
    "--training.network.style-dim=16",
    "--training.samples=4",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, one_thread):  # noqa: ARG001 (threads that wait cost more)
    """A folder in which every phase has been trained for a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    data = folder / "faces.zip"
    write_faces(data)

    def train(phase, *words):
        common = ["--data", str(data), "--out", str(folder / phase), *QUICK]
        assert main(["train", phase, *map(str, words), *common]) == 0, phase

    train("generator", "--size", SIDE, "--loop.steps=2", *NARROW)
    train("attributes", "--loop.steps=3")
    train("e4e", "--generator", folder / "generator", "--loop.steps=2")
    fit = ["directions", "fit", "--model", str(folder / "e4e"), "--name", "smile"]
    fit += ["--data", str(data), "--column", "Smiling", "--classifier", str(folder / "attributes")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylefeatureeditor.directions.find.FACES_MEASURED", 4)
        assert main(fit) == 0
    train("inverter", "--model", folder / "e4e", "--loop.steps=2")
    train("editor", "--model", folder / "inverter", "--loop.steps=2")
    return folder


@pytest.fixture
def data(runs):
    return runs / "faces.zip"


def steps(folder):
    return json.loads((folder / "model" / "training.json").read_text())["steps"]


class TestChain:
    def test_each_phase_adds_its_part(self, runs):
        assert steps(runs / "generator") == {"generator": 2}
        assert steps(runs / "e4e") == {"generator": 2, "e4e": 2}
        assert steps(runs / "editor") == {
            "generator": 2,
            "e4e": 2,
            "inverter": 2,
            "feature_editor": 2,
        }

    @pytest.mark.parametrize("part", ["generator", "e4e", "inverter"])
    def test_what_one_phase_has_made_the_next_leave_alone(self, runs, part):
        before, after = (
            load_tensors(runs / phase / "model" / f"{part}.safetensors")[0]
            for phase in (part, "editor")
        )
        assert all((after[name] == tensor).all() for name, tensor in before.items())

    def test_what_one_phase_trains_changes(self, runs):
        before, after = (
            load_tensors(runs / phase / "model" / "inverter.safetensors")[0]
            for phase in ("e4e", "inverter")
        )
        assert any((after[name] != tensor).any() for name, tensor in before.items())

    def test_the_last_folder_is_a_model_with_its_directions(self, runs):
        editor = Editor.from_pretrained(runs / "editor" / "model", device="cpu")
        assert [entry.name for entry in editor.directions.entries] == ["smile"]
        assert editor.size == SIDE

    @pytest.mark.parametrize("model", ["editor", "editor/model"])
    def test_a_photo_is_edited_with_what_came_out(self, model, runs, aligned, tmp_path, sfe):
        words = ("-e", "smile=1", "--model", runs / model, "-o", tmp_path / "out.png", "--aligned")
        assert sfe("edit", aligned, *words).code == 0
        assert "smile" in sfe("directions", "list", "--model", runs / model).out
        before, after = (np.asarray(Image.open(p)) for p in (aligned, tmp_path / "out.png"))
        assert before.shape == after.shape
        assert (before != after).any()

    def test_the_strip_of_a_direction_is_a_picture(self, runs):
        strip = Image.open(runs / "e4e" / "model" / "strips" / "smile.png")
        assert strip.width > 7 * 96
        assert strip.height > 4 * 96


class TestRun:
    def train(self, sfe, runs, *words):
        return sfe("train", *words, "--data", runs / "faces.zip", *QUICK)

    def test_resuming_goes_on_and_ends_with_a_model(self, runs, tmp_path, sfe):
        words = ("e4e", "--generator", runs / "generator", "--out", tmp_path / "e")
        assert self.train(sfe, runs, *words, "--loop.steps=1").code == 0
        again = self.train(sfe, runs, *words, "--loop.steps=2")
        assert again.code == 2
        assert "already holds a run" in again.err
        resumed = self.train(sfe, runs, *words, "--loop.steps=2", "--resume")
        assert resumed.code == 0
        assert resumed.out == f"{tmp_path / 'e' / 'model'}\n"
        assert steps(tmp_path / "e")["e4e"] == 2

    def test_a_saved_config_alone_repeats_the_run(self, runs, tmp_path, sfe):
        words = ("--config", runs / "e4e" / "config.toml", "--out", tmp_path / "e")
        assert sfe("train", "e4e", *words).code == 0
        first, second = (
            load_tensors(folder / "model" / "e4e.safetensors")[0]
            for folder in (runs / "e4e", tmp_path / "e")
        )
        assert all((second[name] == tensor).all() for name, tensor in first.items())

    def test_the_config_names_the_networks_that_the_run_read(self, runs, tmp_path, sfe):
        config = tmp_path / "mine.toml"
        config.write_text(f'[inputs]\ngenerator = "{runs / "generator"}"\n[loop]\nsteps = 1\n')
        words = ("--config", config, "--model", runs / "e4e", "--out", tmp_path / "i")
        flags = ("--tune-from", runs / "inverter", "--identity", "moco")
        assert self.train(sfe, runs, "inverter", *words, *flags).code == 0
        saved = read_mapping(tmp_path / "i" / "config.toml")
        assert saved["inputs"] == {
            "model": str(runs / "e4e"),
            "generator": "none",
            "discriminator": "none",
            "attributes": "none",
            "tune_from": str(runs / "inverter"),
        }
        assert saved["training"]["image"]["identity_features"] == "moco"
        grown = read_mapping(runs / "generator" / "config.toml")
        assert grown["grow_from"] == "none"

    def test_a_damaged_photo_held_out_stops_nothing(self, runs, tmp_path, sfe, caplog):
        with zipfile.ZipFile(runs / "faces.zip") as archive:
            archive.extractall(tmp_path / "faces")
        (tmp_path / "faces" / "00.png").write_bytes(b"no picture")  # split is test
        words = ("--data", tmp_path / "faces", "--data.memory-gib=0", "--loop.steps=1", *QUICK)
        for phase, start in (("e4e", ("--generator", runs / "generator")), ("attributes", ())):
            caplog.clear()
            ran = sfe("train", phase, *words, *start, "--out", tmp_path / phase)
            assert ran.code == 0
            assert "00.png" in caplog.text

    def test_a_generator_grows_from_half_its_size(self, runs, tmp_path, sfe):
        words = ("--size", 64, "--grow-from", runs / "generator", "--loop.steps=1", *NARROW)
        base = ("--training.network.channel-base=512", "--training.discriminator.channel-base=512")
        ran = self.train(sfe, runs, "generator", *words, *base, "--out", tmp_path / "g")
        assert (ran.code, ran.err.count("Traceback")) == (0, 0)
        assert self.train(
            sfe, runs, "generator", "--size", 64, "--grow-from", tmp_path, "--out", tmp_path / "h"
        ).err.endswith(f"`sfe train generator --size {SIDE}` run\n")

    def test_a_trained_network_is_tuned(self, runs, tmp_path, sfe):
        start = load_tensors(runs / "inverter" / "model" / "inverter.safetensors")[0]
        words = ["--model", runs / "e4e", "--tune-from", runs / "inverter"]
        quiet = ["--training.ranger.lr=1e-9", "--loop.steps=1", "--loop.sample-every=0"]
        ran = self.train(sfe, runs, "inverter", *words, *quiet, "--out", tmp_path / "more")
        assert ran.code == 0
        end = load_tensors(tmp_path / "more" / "model" / "inverter.safetensors")[0]
        weights = [name for name in start if name.endswith("weight")]
        assert weights
        for name in weights:
            torch.testing.assert_close(end[name], start[name], rtol=0, atol=1e-6)

    def test_an_ablation_is_trained(self, runs, tmp_path, sfe):
        words = ("--model", runs / "e4e", "--ablation", "without-fuser", "--loop.steps=1")
        assert self.train(sfe, runs, "inverter", *words, "--out", tmp_path / "i").code == 0
        assert load_model(tmp_path / "i" / "model").inverter.fuser is None


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ("generator --size 32", "say where to write the run: --out DIR"),
            ("generator --size 33 --out x", "size must be a power of two"),
            ("generator --size 32 --out x", "say which images to train on: --data"),
            ("generator --size 32 --out x --data nothing.zip", "nothing.zip is not there"),
            ("generator --out x --preset huge", "invalid choice 'huge'"),
            ("generator --out x --data . --loop.stepps 3", "did you mean --loop.steps?"),
            ("generator --out x --prset tiny", "did you mean --preset?"),
            ("e4e --out x", "either --model DIR or --generator DIR_OR_FILE"),
            ("e4e --out x --generator nowhere", "`sfe train generator` makes a generator"),
            ("editor --out x", "the run of `sfe train inverter`"),
            ("editor --out x --model {e4e}", "no trained inverter: `sfe train inverter` makes it"),
            ("inverter --out x --model {generator}", "pass it with --generator"),
            ("inverter --out x --model {e4e} --preset paper --data {data}", "sfe models pull"),
            ("e4e --out x --generator {generator} --preset paper", "use --preset small"),
            ("e4e --out x --model {e4e} --model.generator.size 64 --data {data}", "styles"),
        ],
    )
    def test_one_sentence_and_no_run(self, words, sentence, runs, data, sfe, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        places = {name: runs / name for name in ("generator", "e4e")}
        ran = sfe("train", *words.format(data=data, **places).split())
        assert ran.code == 2
        assert sentence in ran.err
        assert ran.err.splitlines()[-1].startswith("sfe: ")
        assert not (tmp_path / "x").exists()

    def test_a_loss_of_features_needs_a_discriminator(self, runs, data, sfe, tmp_path):
        file = tmp_path / "generator.safetensors"
        file.write_bytes((runs / "generator" / "model" / "generator.safetensors").read_bytes())
        words = ("--generator", file, "--out", tmp_path / "x", "--data", data, *QUICK)
        words += ("--training.image.discriminator-features=0.1",)
        ran = sfe("train", "e4e", *words)
        assert ran.code == 2
        assert "no discriminator.safetensors" in ran.err

    def test_asking_d_about_edits_needs_a_discriminator(self, runs, data, sfe, tmp_path):
        model = shutil.copytree(runs / "inverter" / "model", tmp_path / "model")
        (model / "discriminator.safetensors").unlink()
        words = ("--model", model, "--out", tmp_path / "x", "--data", data, *QUICK)
        words += ("--attributes", runs / "attributes", "--training.attributes.weight=0.1")
        ran = sfe("train", "editor", *words, "--training.attributes.realism=1")
        assert ran.code == 2
        assert "no discriminator.safetensors" in ran.err
        assert not (tmp_path / "x").exists()


class TestFlags:
    """What a flag may hold, beside the words of the tests above."""

    def run(self, *words):
        return options("attributes", words)[1]

    def test_numbers_names_and_none(self):
        run = self.run("--loop.steps", "1e3", "--loop.precision", "none", "--labels", "a b.csv")
        assert (run.loop.steps, run.loop.precision, run.labels) == (1000, None, Path("a b.csv"))
        run = self.run("--data.where", "split=train", "black_frac=<=0.05", "--no-resume")
        assert run.data.where == {"split": "train", "black_frac": "<=0.05"}
        _, run = options("generator", ["--augment", "diff", "--training.ada.every", "2"])
        assert (run.training.augment, run.training.ada.every) == ("diff", 2)

    def test_flags_win_over_the_file_and_the_file_over_the_preset(self, tmp_path):
        (tmp_path / "a.toml").write_text('labels = "x"\n[loop]\nsteps = 5\nseed = 3\n')
        run = self.run("--config", str(tmp_path / "a.toml"), "--loop.steps=7")
        assert (run.loop.steps, run.loop.seed, run.labels) == (7, 3, Path("x"))

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ("--loop.steps 2.5", "--loop.steps: expected a whole number, got '2.5'"),
            ("--loop.steps", "Missing value for argument '--loop.steps'"),
            ("--data.where split", "expected NAME=VALUE, got 'split'"),
            ("--training.lr -1", "lr and steps must be positive"),
            ("--training.balanse 1", "did you mean --training.balance?"),
            ("more", "Unrecognized options: more"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, words, sentence):
        with pytest.raises(ConfigError) as caught:
            self.run(*words.split())
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("frame", ["╭─ Bad ─╮\n│ %s │\n│ ───── │\n│ %s │\n╰───╯", None])
    def test_a_sentence_is_found_in_either_kind_of_box(self, frame):
        frame = frame or " Bad  \n ---- \n %s \n ---- \n %s \n"
        assert _sentence(frame % ("it is so.", "For help see this")) == "it is so"
        assert _sentence(frame % ("no --x", "Perhaps you meant:")) == "no --x"
        guess = frame % ("no --x", "Perhaps you meant:\n --xy INT\n help")
        assert _sentence(guess) == "no --x; did you mean --xy?"


class TestHelp:
    @pytest.mark.parametrize("phase", PRESETS)
    def test_shows_every_setting_of_the_run(self, phase, sfe):
        pytest.importorskip("tyro")
        out = sfe("train", phase, "--preset", "small", "--help").out
        flags = ["--loop.steps", "--data.source", "--loop.precision"]
        flags += {
            "generator": ["--training.network.channel-max", "--training.r1-gamma"],
            "attributes": ["--training.balance"],
            "e4e": ["--training.latent.pool-size", "--model.e4e.trunk.depths"],
            "inverter": ["--training.adversarial.start", "--model.inverter.fuser"],
            "editor": ["--training.adversarial.r1.every", "--directions"],
        }[phase]
        assert [flag for flag in flags if flag not in out] == []

    def test_the_values_are_those_of_the_preset(self, sfe):
        pytest.importorskip("tyro")
        line = "--training.feature-form {norm,distance,l1}"
        for name, value in (("paper", "norm"), ("released", "distance")):
            out = sfe("train", "inverter", "--preset", name, "--help").out
            shown = " ".join(out.partition(line)[2][:400].replace("│", " ").split())
            assert f"(default: {value})" in shown

    def test_steps_stretch_the_schedule_of_a_small_preset(self, runs, tmp_path, sfe):
        settings = read_mapping(runs / "e4e" / "config.toml")
        assert settings["loop"]["steps"] == 2
        assert settings["training"]["progressive_start"] == 0
        (tmp_path / "mine.toml").write_text("[loop]\nsteps = 1\n")
        words = ("--generator", runs / "generator", "--config", tmp_path / "mine.toml")
        data = ("--data", runs / "faces.zip", "--out", tmp_path / "e")
        assert sfe("train", "e4e", *words, *data, *QUICK).code == 0
        settings = read_mapping(tmp_path / "e" / "config.toml")
        assert settings["training"]["ranger"]["cooldown"] == [0, 1]

    def test_the_cars_presets_have_a_page(self, sfe):
        pytest.importorskip("tyro")
        for phase in ("e4e", "inverter", "editor"):
            ran = sfe("train", phase, "--preset", "cars", "--help")
            assert (ran.code, "(default: moco)" in ran.out) == (0, True), phase

    def test_names_the_ablations(self, sfe):
        for phase, names in ABLATIONS.items():
            assert ",".join(names) in sfe("train", phase, "--help").out.replace("\n", "")
