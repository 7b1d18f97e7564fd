import shlex

import pytest

from stylefeatureeditor.cli.main import build_parser
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.photo.session_file import FaceEdits
from stylefeatureeditor.web.settings import Settings, as_command, as_python, difference

SMILE = Settings(faces={1: FaceEdits(edits={"smile": 2.0, "age": -3.5})})


def of_face(face: int, **done) -> Settings:
    return Settings(faces={face: FaceEdits(edits={"smile": 2.0}, **done)})


def words_of(settings: Settings, **subject) -> list[str]:
    subject = {"photo": "portrait.jpg", "model": "faces", **subject}
    return shlex.split(as_command(settings, **subject))


def test_the_command_line_understands_the_command():
    settings = Settings(faces=of_face(2, mask="face").faces, blend="residual")
    words = words_of(settings, photo="a photo's name.jpg", model="my model")
    args = build_parser().parse_args(words[1:])
    assert [str(path) for path in args.photos] == ["a photo's name.jpg"]
    assert args.edit == [(None, "smile", 2.0)]
    assert (args.face, args.mask, args.blend) == (2, "face", "residual")
    assert (args.model, args.output) == ("my model", "a photo's name_edited.png")


def test_what_is_left_as_it_was_is_left_out():
    assert words_of(SMILE) == [
        *("sfe", "edit", "portrait.jpg", "-e", "smile=2", "-e", "age=-3.5"),
        *("--model", "faces", "-o", "portrait_edited.png"),
    ]


def test_several_faces_are_numbered():
    both = Settings(faces={**SMILE.faces, **of_face(3).faces})
    args = build_parser().parse_args(words_of(both)[1:])
    assert args.edit == [(1, "smile", 2.0), (1, "age", -3.5), (3, "smile", 2.0)]


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        (SMILE, True),
        (Settings(faces={**SMILE.faces, **of_face(2, mask="face").faces}), False),
    ],
)
def test_what_a_command_cannot_say_is_said_by_a_session(settings: Settings, saved: bool):
    assert words_of(settings, saved=saved)[:3] == ["sfe", "edit", "portrait.sfe"]
    lines = as_python(settings, photo="portrait.jpg", model="faces", saved=saved)
    assert "sfe.load_session('portrait.sfe')" in lines
    compile(lines, "lines", "exec")


def test_a_session_of_several_photos_is_named_and_its_photo_counted():
    words = words_of(SMILE, saved=True, session="photos.sfe", several=True)
    assert words == ["sfe", "edit", "photos.sfe", "--model", "faces", "-o", "edited/"]
    of = {"photo": "b.jpg", "model": "faces", "saved": True, "session": "photos.sfe", "place": 2}
    lines = as_python(SMILE, **of)
    assert "load_session('photos.sfe')" in lines
    assert "session.photos[2]" in lines


def test_an_aligned_crop_has_no_face_to_choose():
    words = words_of(of_face(1), aligned=True)
    assert "--aligned" in words
    assert "--face" not in words


@pytest.mark.parametrize("photo", ["portrait.jpg", "portrait.safetensors", 'a"b\\.png'])
@pytest.mark.parametrize("face", [1, 2])
def test_the_lines_of_python_compile(photo: str, face: int):
    settings = Settings(faces=of_face(face, mask="face").faces, blend="none")
    lines = as_python(settings, photo=photo, model="faces")
    compile(lines, "lines", "exec")
    assert ("load_inversion" in lines) == photo.endswith(".safetensors")


def test_a_choice_that_is_not_offered_is_refused():
    with pytest.raises(ConfigError, match="is one of"):
        Settings(blend="alpha")
    with pytest.raises(ConfigError, match="is one of"):
        FaceEdits(mask="hair")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (Settings(), of_face(1), "Smile +2"),
        (of_face(1), Settings(), "Smile off"),
        (Settings(), of_face(2), "Smile +2, face 2"),
        (Settings(), Settings(faces={**of_face(1).faces, **of_face(2).faces}), "Smile +2, 2 faces"),
        (SMILE, Settings(), "All edits off"),
        (of_face(1), of_face(1, mask="face"), "Where edits act"),
        (of_face(1), of_face(1, mask="painted", painted=b"png"), "Painted"),
        (of_face(1), Settings(faces=of_face(1).faces, blend="none"), "How the face is put back"),
    ],
)
def test_a_step_is_told_in_a_few_words(before: Settings, after: Settings, words: str):
    assert difference(before, after, {"smile": "Smile"}) == words
