"""Edit masks: a name, a picture or a tensor becomes the region that may change."""

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.errors import MaskError
from stylefeatureeditor.masks import edit_mask
from stylefeatureeditor.masks.edit_mask import edit_region, find_region
from stylefeatureeditor.masks.face_frame import five_points
from stylefeatureeditor.photo.align import crop, ffhq_quad
from stylefeatureeditor.photo.face_mask import face_mask, read_mask
from stylefeatureeditor.photo.image import to_tensor
from stylefeatureeditor.records import AlignedFace
from synthetic_face import frontal_face, soft_photo

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
PHOTO = soft_photo(160, 120)


def face(centre=(60, 40), *, landmarks=True):
    points = frontal_face(centre, 10, 0.1)
    quad = ffhq_quad(points)
    pixels = to_tensor(crop(PHOTO, quad, SIDE))
    return AlignedFace(pixels, PHOTO, quad, points if landmarks else None)


class Parser:
    """Notes what it is asked and calls the left half a face."""

    def __init__(self):
        self.asked, self.thresholds = [], []

    def edit_region(self, pixels, *regions, points=None, threshold=None):
        self.thresholds.append(threshold)
        self.asked.append((pixels, regions, points))
        region = torch.zeros(len(pixels), 1, *pixels.shape[2:])
        region[..., : pixels.shape[-1] // 2] = 1
        return region


@pytest.fixture
def parser(monkeypatch):
    fake = Parser()
    monkeypatch.setattr(edit_mask, "_parser", lambda: fake)
    return fake


def test_no_mask_lets_everything_change():
    assert edit_region(None, (face(),)) is None
    assert edit_region("none", ()) is None


def test_a_tensor_is_the_region_itself():
    region = torch.ones(1, 1, 8, 8)
    assert edit_region(region, ()) is region
    assert edit_region(region, (face(), face())) is region


def test_the_hull_of_each_face_is_its_own():
    faces = (face(), face((100, 60)))
    region = edit_region("face", faces)
    assert region.shape == (2, 1, SIDE, SIDE)
    for row, one in enumerate(faces):
        assert torch.equal(region[row : row + 1], face_mask(one.landmarks, one.quad, SIDE))
    assert 0.05 < region.mean() < 0.8


def test_a_name_asks_the_face_parser(parser):
    region = edit_region("hair+hat", (face(), face((100, 60))))
    assert region.shape == (2, 1, SIDE, SIDE)
    assert [regions for _, regions, _ in parser.asked] == [("hair", "hat")] * 2
    assert torch.equal(parser.asked[0][0], face().pixels)
    edit_region("foreground", (face(),))
    edit_region("foreground:0.9", (face(),))
    assert [regions for _, regions, _ in parser.asked[-2:]] == [(), ()]
    assert parser.thresholds[-3:] == [None, 0.995, 0.9]


def test_the_parser_gets_the_five_points_in_pixels_of_the_crop(parser):
    """Eyes, nose and mouth lie in the crop where they lie in the photo."""
    one = face()
    edit_region("hair", (one,))
    points = parser.asked[0][2]
    assert points.shape == (1, 5, 2)
    expected = five_points(torch.as_tensor(one.landmarks)[None])[0].numpy() + 0.5
    across, down = one.quad[3] - one.quad[0], one.quad[1] - one.quad[0]
    back = one.quad[0] + points[0].numpy() / SIDE @ np.stack([across, down])
    np.testing.assert_allclose(back, expected, atol=1e-4)
    assert (points > 0).all()
    assert (points < SIDE).all()


def test_without_landmarks_the_parser_finds_its_own_way(parser):
    edit_region("hair", (face(landmarks=False),))
    assert parser.asked[0][2] is None
    with pytest.raises(MaskError, match="needs landmarks"):
        edit_region("face", (face(landmarks=False),))


def test_a_picture_of_the_photos_size_is_cut_to_each_crop(tmp_path):
    picture = np.zeros((120, 160), np.uint8)
    picture[:, :80] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(picture).save(path)
    faces = (face((40, 40)), face((120, 40)))
    for mask in (picture, Image.fromarray(picture), path, str(path), path.read_bytes()):
        region = edit_region(mask, faces)
        assert region.shape == (2, 1, SIDE, SIDE)
        assert region[0, 0, 8:24, 8:24].min() == 1
        assert region[1, 0, 8:24, 8:24].max() == 0


def test_a_picture_of_the_crops_size_is_taken_as_it_is():
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[:8] = 255
    region = edit_region(picture, (face(),))
    assert torch.equal(region[0, 0], torch.from_numpy(picture / 255).float())


def test_a_mask_of_the_photo_and_one_of_the_crop_mean_the_same():
    over_photo = np.zeros((120, 160), dtype=np.uint8)
    over_photo[30:60, 40:70] = 255
    one = face()
    from_photo = find_region(over_photo, (one,), 1)
    over_crop = crop(over_photo[:, :, None].repeat(3, axis=2), one.quad, SIDE)
    from_crop = find_region(over_crop, (one,), 1)
    assert (from_photo.crops - from_crop.crops).abs().max() < 0.1
    assert from_photo.photo.shape == (1, 1, 120, 160)
    assert from_crop.photo is None
    with pytest.raises(MaskError, match="160 x 120 or 32 x 32"):
        find_region(over_photo[:40], (one,), 1)


def test_a_picture_is_read_once_for_all_faces_of_a_photo(monkeypatch):
    read = []
    monkeypatch.setattr(edit_mask, "read_mask", lambda *args: read.append(args) or read_mask(*args))
    region = find_region(np.zeros((120, 160), np.uint8), (face(), face((100, 60)), face()), 3)
    assert region.crops.shape == (3, 1, SIDE, SIDE)
    assert len(read) == 1


def test_a_file_without_a_suffix_is_found_before_a_name(tmp_path, monkeypatch, parser):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(tmp_path / "hair", "PNG")
    assert edit_region("hair", (face(),)).min() == 1
    assert not parser.asked


def test_a_folder_of_that_name_and_a_file_called_face_hide_no_name(tmp_path, monkeypatch, parser):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hair").mkdir()
    (tmp_path / "face").write_bytes(b"no picture")
    edit_region("hair", (face(),))
    assert parser.asked
    assert 0 < edit_region("face", (face(),)).mean() < 1


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.zeros((50, 70), np.uint8), "160 x 120 or 32 x 32 pixels, it has 70 x 50"),
        ("nowhere.png", "there is no file"),
        ("x" * 300, "cannot be used"),
        (b"no picture", "cannot be used"),
        ("hair", "needs a face parser and none is on disk"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused(mask, sentence):
    with pytest.raises(MaskError, match=sentence):
        edit_region(mask, (face(),))


@pytest.mark.parametrize("mask", ["face", "hair", np.zeros((SIDE, SIDE), np.uint8)])
def test_aligned_tensors_take_tensors_only(mask):
    with pytest.raises(MaskError, match="pass a tensor for aligned crops"):
        edit_region(mask, ())
