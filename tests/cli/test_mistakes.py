"""Every bad input, through the command itself: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from hostile import calls
from tiny import WIDTH

PORTRAIT = "portrait.png"
EDIT = ("-e", "smile=1", "-o", "out.png")


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels and whose data holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def grey(side: int = 64, width: int | None = None) -> Image.Image:
    return Image.new("RGB", (width or side, side), (120, 120, 120))


@pytest.fixture
def folder(tmp_path, monkeypatch, model, portrait, aligned):
    """The folder the commands run in, with everything that can be wrong."""
    monkeypatch.chdir(tmp_path)
    assert portrait.parent == aligned.parent == tmp_path
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("a letter, not a picture")
    (tmp_path / "cut.png").write_bytes(portrait.read_bytes()[:9000])
    (tmp_path / "bomb.png").write_bytes(png_bomb(20_000, 20_000))
    grey().save("nobody.png")
    grey(50).save("small_mask.png")
    (tmp_path / "no_photos").mkdir()
    (tmp_path / "no_photos" / "notes.txt").write_text("none")
    for name in ("cut_model", "renamed_model", "huge_model", "wrong_model", "strange_model"):
        (tmp_path / name).mkdir()
        for file in model.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "cut_model" / "e4e.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "renamed_model" / "inverter.safetensors").unlink()
    rewrite(tmp_path / "huge_model" / "config.json", "encoder_size", 31)
    (tmp_path / "wrong_model" / "e4e.safetensors").write_bytes(
        (model / "generator.safetensors").read_bytes()
    )
    rewrite(tmp_path / "strange_model" / "config.json", "run", "rm -rf /")
    torch.save({"state_dict": calls(tmp_path / "mark")["os.system"]}, tmp_path / "hostile.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.pt")
    np.save("vector.npy", np.ones(77, dtype=np.float32))
    np.save("fits.npy", np.ones(WIDTH, dtype=np.float32))
    return tmp_path


def rewrite(path, key, value):
    content = json.loads(path.read_text())
    content["model"][key] = value
    path.write_text(json.dumps(content))


def contents(folder):
    """Every folder, and every file with its time."""
    return {path: path.is_file() and path.stat().st_mtime_ns for path in folder.rglob("*")}


# what is wrong: (the words after `sfe`, a part of the sentence); {model} is added to edits
MISTAKES = {
    "no face": (("edit", "nobody.png", *EDIT), "no face was found"),
    "a face number too large": (("edit", PORTRAIT, "--face", "3", *EDIT), "face 3 was asked for"),
    "face 0": (("edit", PORTRAIT, "--face", "0", *EDIT), "numbered from 1"),
    "a face that is no number": (("edit", PORTRAIT, "--face", "left", *EDIT), "largest, all or"),
    "an empty file": (("edit", "empty.jpg", *EDIT), "empty.jpg is empty"),
    "a text file": (("edit", "text.jpg", *EDIT), "is not a picture that can be read"),
    "a truncated file": (("edit", "cut.png", *EDIT), "damaged or cut short"),
    "a missing file": (("edit", "gone.png", *EDIT), "there is no file gone.png"),
    "a folder without photos": (("edit", "no_photos", *EDIT[:2]), "holds no photos"),
    "400 megapixels": (("edit", "bomb.png", *EDIT), "400 megapixels (20000 x 20000)"),
    "no edit": (("edit", PORTRAIT, "-o", "out.png"), "nothing to edit"),
    "an unknown direction": (("edit", PORTRAIT, "-e", "smlie=1"), "did you mean smile"),
    "an edit without a strength": (("edit", PORTRAIT, "-e", "smile"), "as in smile=2"),
    "a strength that is no number": (("edit", PORTRAIT, "-e", "smile=much"), "got 'smile=much'"),
    "a strength that is not finite": (("edit", PORTRAIT, "-e", "smile=nan"), "as in smile=2"),
    "a direction given twice": (("edit", PORTRAIT, "-e", "age=1", "-e", "age=2"), "age is given"),
    "a malformed grid": (("edit", PORTRAIT, "--grid", "smile=3"), "smile=-2:2:5"),
    "a mask of another size": (
        ("edit", PORTRAIT, "--mask", "small_mask.png", *EDIT),
        "the mask must have 260 x 240 or 32 x 32 pixels, it has 50 x 50",
    ),
    "an unreadable mask": (("edit", PORTRAIT, "--mask", "text.jpg", *EDIT), "mask cannot be used"),
    "a missing mask": (("edit", PORTRAIT, "--mask", "gone.png", *EDIT), "there is no file"),
    "a mask for which a parser is needed": (
        ("edit", PORTRAIT, "--mask", "hair", *EDIT),
        "sfe models pull",
    ),
    "a face mask of a crop": (
        ("edit", "aligned.png", "--aligned", "--mask", "face", *EDIT),
        "an aligned photo has none",
    ),
    "an output of an unknown kind": (
        ("edit", PORTRAIT, "-e", "smile=1", "-o", "out.docx"),
        "must end in .png or",
    ),
    "an output in no folder": (
        ("edit", PORTRAIT, "-e", "smile=1", "-o", "gone/out.png"),
        "there is no folder gone",
    ),
    "an output under a file": (
        ("edit", PORTRAIT, "nobody.png", "-e", "smile=1", "-o", "text.jpg/out"),
        "cannot be written",
    ),
    "an output over the photo": (
        ("edit", PORTRAIT, "-e", "smile=1", "-o", PORTRAIT),
        "is the photo itself",
    ),
    "an unknown model": (("edit", PORTRAIT, *EDIT, "--model", "facez"), "there is no model"),
    "a folder that is no model": (("edit", PORTRAIT, *EDIT, "--model", "no_photos"), "config.json"),
    "a truncated model": (("edit", PORTRAIT, *EDIT, "--model", "cut_model"), "e4e.safetensors"),
    "an incomplete model": (
        ("edit", PORTRAIT, *EDIT, "--model", "renamed_model"),
        "inverter.safetensors",
    ),
    "a model with impossible sizes": (
        ("edit", PORTRAIT, *EDIT, "--model", "huge_model"),
        "encoder_size",
    ),
    "a model with a foreign file": (
        ("edit", PORTRAIT, *EDIT, "--model", "wrong_model"),
        "tensors are missing",
    ),
    "a model with a strange config": (
        ("edit", PORTRAIT, *EDIT, "--model", "strange_model"),
        "unknown field 'run'",
    ),
    "a device that is not there": (("edit", PORTRAIT, *EDIT, "--device", "cuda:99"), "cuda:99"),
    "a device that does not exist": (("edit", PORTRAIT, *EDIT, "--device", "tpu"), "'tpu'"),
    "an inversion that is a model": (
        ("edit", "cut_model/generator.safetensors", *EDIT),
        "is no inversion",
    ),
    "an unknown command": (("paint", PORTRAIT), "invalid choice: 'paint'"),
    "an unknown option": (("edit", PORTRAIT, *EDIT, "--strong"), "--strong"),
    "a shortened option": (("edit", PORTRAIT, *EDIT, "--mas", "face"), "--mas"),
    "blend beside crop-only": (("edit", PORTRAIT, *EDIT, "--crop-only", "--blend", "none"), "not"),
    "an inversion without output": (("invert", PORTRAIT), "-o/--output"),
    "an inversion as JPEG": (("invert", PORTRAIT, "-o", "out.jpg"), "must end in .png"),
    "an inversion of nobody": (("invert", "nobody.png", "-o", "out"), "no face was found"),
    "a checkpoint that runs code": (
        ("models", "convert", "--sfe", "hostile.pt", "-o", "made"),
        "hostile.pt",
    ),
    "a foreign checkpoint": (
        ("models", "convert", "--sfe", "foreign.pt", "-o", "made"),
        "foreign.pt",
    ),
    "a missing checkpoint": (("models", "convert", "--sfe", "gone.pt", "-o", "made"), "gone.pt"),
    "a model in the way": (
        ("models", "convert", "--sfe", "foreign.pt", "-o", "cut_model"),
        "holds a model already",
    ),
    "nothing published of that name": (("models", "pull", "ffhqq"), "did you mean ffhq"),
    "info of nothing": (("models", "info", "gone"), "there is no model 'gone'"),
    "show of an unknown direction": (("directions", "show", "smlie"), "did you mean"),
    "an import of another width": (
        ("directions", "import", "vector.npy", "--name", "x", "--model", "cut_model"),
        "expected shape (12,)",
    ),
    "an import with a bad name": (
        ("directions", "import", "fits.npy", "--name", "Ä", "--model", "cut_model"),
        "lower case letters",
    ),
    "an import under a taken name": (
        ("directions", "import", "fits.npy", "--name", "grin", "--model", "cut_model"),
        "two directions answer to the name 'grin'",
    ),
    "an import with a malformed range": (
        ("directions", "import", "fits.npy", "--name", "x", "--model", "cut_model", "--range", "5"),
        "--range",
    ),
    "an import with impossible layers": (
        ("directions", "import", "fits.npy", "--name", "x", "--model", "cut_model", "--layers=4:2"),
        "as in 0:7",
    ),
    "an import of nothing": (
        ("directions", "import", "gone.npy", "--name", "x", "--model", "cut_model"),
        "there is no file gone.npy",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_sentence_and_leaves_nothing_behind(case, folder, model, sfe):
    words, sentence = MISTAKES[case]
    if words[0] in ("edit", "invert") and "--model" not in words:
        words = (*words, "--model", model)
    before = contents(folder)
    ran = sfe(*words)
    assert ran.code == 2
    assert ran.err.startswith("sfe: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert sentence in ran.err
    assert "Traceback" not in ran.err
    assert not ran.out
    assert contents(folder) == before


def test_an_inversion_of_another_model_is_refused(aligned, model, other_model, tmp_path, sfe):
    made = tmp_path / "made.png"
    assert sfe("invert", aligned, "--aligned", "-o", made, "--model", model).code == 0
    file = made.with_suffix(".safetensors")
    ran = sfe("edit", file, "-e", "smile=1", "-o", tmp_path / "x.png", "--model", other_model)
    assert ran.code == 2
    assert "another model" in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_a_bug_keeps_its_traceback(aligned, model, tmp_path, sfe, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr("stylefeatureeditor.editor.Editor.edit_batch", broken)
    with pytest.raises(ZeroDivisionError):
        sfe("edit", aligned, "--aligned", *EDIT[:2], "-o", tmp_path / "x.png", "--model", model)
