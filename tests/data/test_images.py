"""Training images: folders, zips and shards give the same, and damage is survived."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import tarfile
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.data import image_sources
from stylefeatureeditor.data import images as image_sets
from stylefeatureeditor.data.images import (
    DataConfig,
    Excerpt,
    ImageSet,
    batches,
    decode,
    open_images,
)
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo
from toy_training import SIDE, write_pictures

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 11


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "faces" / "00", COUNT)
    rows = "".join(
        f"00/{i:04d}.png,{i / 100},{'test' if i % 4 == 3 else 'train'}\n" for i in range(COUNT)
    )
    (tmp_path / "faces" / "manifest.csv").write_text("file,black_frac,split\n" + rows)
    return tmp_path / "faces"


def zipped(folder: Path, method: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_name(f"{folder.name}-{method}.zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def shards(folder: Path, per_shard: int) -> list[Path]:
    files = sorted(folder.rglob("*.png"))
    paths = []
    for number, start in enumerate(range(0, len(files), per_shard)):
        path = folder.with_name(f"shard-{number:02d}.tar")
        with tarfile.open(path, "w") as tar:
            for file in files[start : start + per_shard]:
                name = file.relative_to(folder).as_posix()
                tar.add(file, name)
                split = {"split": "test" if int(file.stem) % 4 == 3 else "train"}
                row = json.dumps({**split, "nested": [1], "is_good": True}).encode()
                member = tarfile.TarInfo(name.replace(".png", ".json"))
                member.size = len(row)
                tar.addfile(member, io.BytesIO(row))
        paths.append(path)
    return paths


def all_pixels(images: ImageSet) -> torch.Tensor:
    return torch.stack([images.image(i) for i in range(len(images))])


def test_folder_zip_and_shards_hold_the_same_images(folder: Path):
    where = {"split": "train"}
    whole = open_images(folder, SIDE, where)
    assert len(whole) == 9
    assert whole.names[3] == "00/0004.png"
    assert whole.in_memory
    assert (whole.image(0).dtype, whole.image(0).shape) == (torch.uint8, (3, SIDE, SIDE))
    paths = shards(folder, 4)
    braces = str(paths[0]).replace("shard-00", "shard-{00..02}")
    star = str(paths[0]).replace("shard-00", "shard-*")
    stored, deflated = zipped(folder), zipped(folder, zipfile.ZIP_DEFLATED)
    for source in (stored, deflated, paths, braces, star):
        other = open_images(source, SIDE, where)
        assert other.names == whole.names
        assert torch.equal(all_pixels(other), all_pixels(whole))


def test_reading_in_place_gives_the_same_pixels_and_batches(folder: Path):
    memory, place = open_images(folder, SIDE), open_images(folder, SIDE, memory_gib=0)
    assert (memory.in_memory, place.in_memory) == (True, False)
    assert torch.equal(all_pixels(memory), all_pixels(place))
    streams = (batches(each, 3, seed=1, mirror=True) for each in (memory, place))
    for one, two in itertools.islice(zip(*streams, strict=True), 9):
        assert one.step == two.step
        assert torch.equal(one.indices, two.indices)
        assert torch.equal(one.pixels, two.pixels)


def test_rules_compare_numbers_and_words(folder: Path):
    def kept(**where: str | float) -> list[int]:
        return [int(name[3:7]) for name in open_images(folder, SIDE, where).names]

    assert kept(black_frac="<=0.05") == [0, 1, 2, 3, 4, 5]
    assert kept(black_frac=">0.05", split="!=test") == [6, 8, 9, 10]
    assert kept(black_frac=0.10) == [10]
    assert kept(split="test|train", black_frac="<0.02") == [0, 1]


def test_nvidia_labels_are_rows(tmp_path: Path):
    write_pictures(tmp_path / "set" / "00000", 3)
    labels = [["00000/0000.png", 4], ["00000/0001.png", 5]]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
    for source in (tmp_path / "set", zipped(tmp_path / "set")):
        assert [row.get("label") for row in open_images(source, SIDE).rows] == ["4", "5", None]
        assert open_images(source, SIDE, {"label": "5"}).names == ("00000/0001.png",)


def test_several_sources_join_and_shared_names_are_told_apart(folder: Path, tmp_path: Path):
    write_pictures(tmp_path / "more" / "00", 2)
    write_pictures(tmp_path / "more" / "01", 1)
    both = open_images([folder, tmp_path / "more"], SIDE)
    assert len(both) == COUNT + 3
    assert both.names[0] == "faces/00/0000.png"
    assert both.names[5] == "00/0005.png"
    assert both.names[-3:] == ("more/00/0000.png", "more/00/0001.png", "01/0000.png")


def test_damaged_files_are_listed_and_skipped(folder: Path, caplog: pytest.LogCaptureFixture):
    files = sorted(folder.rglob("*.png"))
    files[2].write_bytes(files[2].read_bytes()[:50])
    files[7].write_bytes(b"no picture at all")
    with caplog.at_level(logging.WARNING):
        images = open_images(zipped(folder), SIDE)
    assert len(images) == len(images.rows) == COUNT - 2
    assert images.names[2] == "00/0003.png"
    assert torch.equal(
        images.image(2), torch.from_numpy(decode(files[3].read_bytes(), SIDE, "crop"))
    )
    assert [("0002" in line, "0007" in line) for line in images.skipped] == [
        (True, False),
        (False, True),
    ]
    assert len(caplog.records) == 1
    assert "skipped 2 of 11 images" in caplog.text


def test_a_damaged_file_read_in_place_is_replaced_by_the_next(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    files = sorted(folder.rglob("*.png"))
    for i in (2, 3, COUNT - 1):
        files[i].write_bytes(b"no picture at all")
    images = open_images(folder, SIDE, memory_gib=0)
    whole = [i for batch in itertools.islice(batches(images, COUNT, 0), 3) for i in batch.indices]
    counts = np.bincount(whole, minlength=COUNT).tolist()
    assert counts == [6, 3, 0, 0, 9, 3, 3, 3, 3, 3, 0]
    assert len(images.skipped) == len(caplog.records) == 3
    with pytest.raises(PhotoError, match=r"00/0002\.png"):
        images.image(2)


def test_photos_that_cannot_be_read_in_place_are_left_out_and_told_once(folder: Path):
    sorted(folder.rglob("*.png"))[2].write_bytes(b"no picture at all")
    images = open_images(folder, SIDE, memory_gib=0)
    for _ in range(2):
        numbers, photos = images.readable_photos([1, 2, 5])
        assert numbers == [1, 5]
        assert torch.equal(photos, images.photos([1, 5]))
    assert images.readable_photos([2])[1].shape == (0, 3, SIDE, SIDE)
    excerpt = Excerpt(images, [1, 2, 5])
    assert (len(excerpt), excerpt.names) == (2, [images.names[1], images.names[5]])
    torch.testing.assert_close(excerpt[[1]], images.photos([5]))
    with pytest.raises(PhotoError, match="none of the chosen photos"):
        Excerpt(images, [2])
    assert len(images.skipped) == 1


def test_a_bad_checksum_in_a_zip_is_survived(folder: Path):
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    content = sorted(folder.rglob("*.png"))[4].read_bytes()
    data[bytes(data).index(content) + len(content) // 2] ^= 255
    path.write_bytes(data)
    images = open_images(path, SIDE)
    assert len(images) == COUNT - 1
    assert "0004" in images.skipped[0]


def test_a_damaged_row_in_a_shard_counts_as_empty(folder: Path, caplog: pytest.LogCaptureFixture):
    (path,) = shards(folder, COUNT)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'{"split": "test"', b'{"split" "test" ', 1))
    images = open_images(path, SIDE)
    assert len(images) == COUNT
    assert [images.rows[i].get("split") for i in (3, 7)] == [None, "test"]
    assert "0003.json" in caplog.text


def test_a_shard_that_breaks_off_keeps_its_whole_samples(folder: Path):
    (path,) = shards(folder, COUNT)
    path.write_bytes(path.read_bytes()[: 4 * 2048 + 600])
    images = open_images(path, SIDE)
    assert 3 <= len(images) <= 5


def test_nothing_readable_is_an_error(tmp_path: Path):
    tmp_path.joinpath("a.png").write_bytes(b"")
    with pytest.raises(PhotoError, match="none of the 1 images can be decoded"):
        open_images(tmp_path, SIDE)
    with pytest.raises(PhotoError, match="none of the 1 images can be decoded"):
        next(batches(open_images(tmp_path, SIDE, memory_gib=0), 1, 0))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"splitt": "train"}, r"has no column 'splitt'; did you mean split\?"),
        ({"split": "<3"}, "compared by size, but 'train' is no number"),
        ({"black_frac": "<x"}, "compared by size, but 'x' is no number"),
        ({"split": "validation"}, "no image of .* meets"),
    ],
)
def test_a_wrong_rule_is_one_sentence(folder: Path, where: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        open_images(folder, SIDE, where)


@pytest.mark.usefixtures("folder")
def test_a_wrong_source_is_one_sentence(tmp_path: Path):
    cases = {
        "missing": (ConfigError, "is not there"),
        "faces/manifest.csv": (ConfigError, r"expected a folder, a \.zip or \.tar"),
        "empty": (ConfigError, "there is none"),
        "bad.zip": (PhotoError, "not a zip file"),
        "bad.tar": (PhotoError, "not a plain tar shard"),
    }
    (tmp_path / "empty").mkdir()
    for name in ("bad.zip", "bad.tar"):
        (tmp_path / name).write_bytes(b"not an archive" * 100)
    for name, (kind, message) in cases.items():
        with pytest.raises(kind, match=message):
            open_images(tmp_path / name, SIDE)
    with pytest.raises(ConfigError, match="empty list"):
        open_images([], SIDE)


def test_pictures_are_resized_cropped_padded_and_laid_on_black():
    def encoded(picture: Image.Image) -> bytes:
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200
    wide = encoded(Image.fromarray(pixels))
    assert (decode(wide, 4, "crop") == 200).all()
    padded = decode(wide, 8, "pad")
    assert (padded[:, 2:6, 2:6] == 200).all()
    assert not padded[:, :2].any()
    smaller = decode(wide, 2, "crop")
    assert (smaller.shape, int(smaller.min())) == ((3, 2, 2), 200)
    clear = decode(encoded(Image.new("RGBA", (2, 2), (255, 255, 255, 0))), 2, "crop")
    assert not clear.any()


def test_batches_resume_anywhere_and_mirror_half(folder: Path):
    images = open_images(folder, SIDE)
    first = list(itertools.islice(batches(images, 4, seed=3, mirror=True), 12))
    later = list(itertools.islice(batches(images, 4, seed=3, start_step=7, mirror=True), 5))
    assert [batch.step for batch in later] == [7, 8, 9, 10, 11]
    flipped = 0
    for one, two in zip(first[7:], later, strict=True):
        assert torch.equal(one.pixels, two.pixels)
    for batch in first:
        for pixels, index in zip(batch.pixels, batch.indices.tolist(), strict=True):
            mirrored = not torch.equal(pixels, images.image(index))
            assert not mirrored or torch.equal(pixels, images.image(index).flip(-1))
            flipped += mirrored
    assert 12 < flipped < 36
    assert torch.equal(all_pixels(images), all_pixels(open_images(folder, SIDE)))


def test_photos_span_minus_one_to_one(tmp_path: Path):
    tmp_path.joinpath("x").mkdir()
    Image.fromarray(np.array([[[0, 255, 51]]], np.uint8)).save(tmp_path / "x" / "a.png")
    images = open_images(tmp_path, 1)
    expected = torch.tensor([-1.0, 1.0, -0.6]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(images.photos([0]), expected)
    torch.testing.assert_close(next(batches(images, 1, 0)).photos(), expected)


def test_config_opens_its_own_images(folder: Path):
    config = DataConfig(source=(str(folder),), where={"split": "train"}, memory_gib=0)
    images = config.open(SIDE, config.where)
    assert (len(images), images.in_memory) == (9, False)
    with pytest.raises(ConfigError, match="cannot be negative"):
        DataConfig(workers=-1)


def test_webdataset_reads_our_idea_of_a_shard(folder: Path):
    webdataset = pytest.importorskip("webdataset")
    (path,) = shards(folder, COUNT)
    reader = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    theirs = [(sample["__key__"], sample["png"]) for sample in reader]
    ours = open_images(path, SIDE)
    assert [f"{key}.png" for key, _ in theirs] == list(ours.names)
    assert torch.equal(ours.image(5), torch.from_numpy(decode(theirs[5][1], SIDE, "crop")))


BOMBS = {
    "few words": ("manifest.csv", "file,a\n" + "0.png,b\n" * 400_000),
    "long rows": ("manifest.csv", "file,a\n" + ("0.png" + ",x" * 5000 + "\n") * 300),
    "many words": ("manifest.csv", "file,a\n" + "".join(f"{i}.png,{i}\n" for i in range(99_999))),
    "columns": ("manifest.csv", ",".join(f"c{i}" for i in range(150_000)) + "\n"),
    "an endless row": ("manifest.csv", "file,a\n" + "a," * 1_500_000),
    "a row over lines": ("manifest.csv", "file,a\n" + '"\n",' * 700_000),
    "empty lists": ("dataset.json", '{"labels": [' + "[]," * 700_000 + "[]]}"),
    "numbers": ("dataset.json", '{"labels": [["0.png", [' + "1," * 900_000 + "1]]]}"),
    "a long label": ("dataset.json", '{"labels": [["0.png", [' + "1," * 9000 + "1]]]}"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_table_of_an_archive_takes_little_memory_or_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sources, "MADE_BYTES", 8 << 20)
    member, text = BOMBS[what]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", b"")
        archive.writestr(member, text)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"too large|a row of more than|a label has 9001 numbers"):
        image_sources.open_sources(tmp_path / "a.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < image_sources.MADE_BYTES + 3 * len(text) + (6 << 20)


def test_a_table_of_an_archive_that_is_too_large_is_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sources, "MAX_TABLE_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("manifest.csv", "file,a\n0.png,1\n")
    with pytest.raises(ConfigError, match=r"^manifest.csv of .* is too large for a table"):
        image_sources.open_sources(tmp_path / "a.zip")


@pytest.mark.parametrize("size", [(80, 50), (50, 80), (7, 5), (5, 7), (333, 40), (40, 333)])
def test_padding_one_side_after_the_other_gives_what_the_whole_square_gives(size):
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    side = max(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    square = Image.fromarray(levels).crop((left, top, left + side, top + side))
    whole = np.asarray(square.resize((16, 16), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    padded = decode(file.getvalue(), 16, "pad")
    assert np.array_equal(padded, whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_a_pipe_or_a_device_among_the_images_does_not_hang(tmp_path):
    write_pictures(tmp_path / "images", 1)
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "images" / "zero.png").symlink_to("/dev/zero")
    images = open_images(tmp_path / "images", SIDE)
    assert len(images) == 1
    assert len([reason for reason in images.skipped if "no regular file" in reason]) == 2
    os.mkfifo(tmp_path / "images.zip")
    with pytest.raises(PhotoError, match="no regular file"):
        open_images(tmp_path / "images.zip", SIDE)


def test_a_name_that_a_zip_has_twice_is_one_image(tmp_path):
    (picture,) = write_pictures(tmp_path / "images", 1)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.write(picture, "a.png")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.write(picture, "a.png")
    assert open_images(tmp_path / "x.zip", SIDE).names == ("a.png",)


def test_a_large_jpeg_is_decoded_no_larger_than_it_is_used(monkeypatch):
    ramp = np.linspace(0, 255, 512, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(ramp[:, None, None], (512, 512, 3)).copy())
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    sizes = []
    drafted = read_photo
    monkeypatch.setattr(
        image_sets, "read_photo", lambda *a, **k: sizes.append(drafted(*a, **k)) or sizes[-1]
    )
    small = decode(file.getvalue(), 32, "crop").transpose(1, 2, 0)
    assert sizes[0].pixels.shape == (64, 64, 3)
    whole = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS))
    assert np.abs(small.astype(int) - whole).max() <= 3
