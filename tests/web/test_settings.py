import shlex

import pytest

from stylefeatureeditor.cli.main import build_parser
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.web.settings import Settings, as_command, as_python

SMILE = Settings(edits={"smile": 2.0, "age": -3.5})


def words_of(settings: Settings, **subject) -> list[str]:
    subject = {"photo": "portrait.jpg", "model": "faces", **subject}
    return shlex.split(as_command(settings, **subject))


def test_the_command_line_understands_the_command():
    settings = Settings(
        edits={"smile": 2.0}, face=2, mask="painted", painted=b"png", blend="residual"
    )
    words = words_of(settings, photo="a photo's name.jpg", model="my model")
    args = build_parser().parse_args(words[1:])
    assert [str(path) for path in args.photos] == ["a photo's name.jpg"]
    assert args.edit == [("smile", 2.0)]
    assert (args.face, args.mask, args.blend) == (2, "mask.png", "residual")
    assert (args.model, args.output) == ("my model", "a photo's name_edited.png")


def test_what_is_left_as_it_was_is_left_out():
    assert words_of(SMILE) == [
        *("sfe", "edit", "portrait.jpg", "-e", "smile=2", "-e", "age=-3.5"),
        *("--model", "faces", "-o", "portrait_edited.png"),
    ]


def test_an_aligned_crop_has_no_face_to_choose():
    words = words_of(Settings(edits={"smile": 1.0}, face=2), aligned=True)
    assert "--aligned" in words
    assert "--face" not in words


def test_a_mask_that_was_never_painted_is_no_mask():
    settings = Settings(edits={"smile": 1.0}, mask="painted")
    assert "--mask" not in words_of(settings)
    assert "mask" not in as_python(settings, photo="a.png", model="faces")


@pytest.mark.parametrize("photo", ["portrait.jpg", "portrait.safetensors", 'a"b\\.png'])
@pytest.mark.parametrize("face", [1, 2, "all"])
def test_the_lines_of_python_compile(photo: str, face):
    settings = Settings(edits={"smile": 2.0}, face=face, mask="face", blend="none")
    lines = as_python(settings, photo=photo, model="faces")
    compile(lines, "lines", "exec")
    assert ("load_inversion" in lines) == photo.endswith(".safetensors")


@pytest.mark.parametrize("wrong", [{"mask": "hair"}, {"blend": "alpha"}])
def test_a_choice_that_is_not_offered_is_refused(wrong):
    with pytest.raises(ConfigError, match="is one of"):
        Settings(**wrong)
