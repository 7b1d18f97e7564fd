"""`sfe align`: crops of one photo and of folders, by one process and by several."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stylefeatureeditor.editor import align
from stylefeatureeditor.photo.image import read_photo, to_uint8


def test_a_face_is_cut_out_as_align_cuts_it(portrait, sfe):
    out = portrait.with_name("crop.png")
    ran = sfe("align", portrait, "-o", out, "--size", "64")
    assert (ran.code, ran.out) == (0, f"{out}\n")
    (face,) = align(portrait, size=64)
    assert np.array_equal(read_photo(out).pixels, to_uint8(face.pixels)[0])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_goes_on_past_a_photo_without_a_face(portrait, aligned, sfe, workers):
    album, out = portrait.with_name("album"), portrait.with_name("out")
    album.mkdir()
    for name in ("a.png", "c.png"):
        (album / name).write_bytes(portrait.read_bytes())
    (album / "b.png").write_bytes(aligned.read_bytes())
    words = ("align", album, "-o", out, "--size", "64", "--workers", workers)
    ran = sfe(*words)
    assert ran.code == 2
    assert "b.png: no face was found" in ran.err
    assert "1 of 3 photos failed" in ran.err
    assert [path.name for path in sorted(out.iterdir())] == ["a_aligned.png", "c_aligned.png"]
    (album / "b.png").unlink()
    assert "skipped 2 done before" in sfe(*words).out


def test_all_faces_give_a_file_each(portrait, sfe):
    both = portrait.with_name("both.png")
    one = read_photo(portrait).pixels
    Image.fromarray(np.concatenate([one, one[:, ::-1]], axis=1)).save(both)
    assert sfe("align", both, "--face", "all", "--size", "64").code == 0
    names = sorted(path.name for path in both.parent.glob("both_aligned*"))
    assert names == ["both_aligned.png", "both_aligned_face2.png"]
