"""Defects that the fuzzer and reviews have found, each as small as it gets."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fuzz import seeds
from stylefeatureeditor.data.attribute_table import read_attribute_table
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.editing.catalog import Catalog, load_catalog
from stylefeatureeditor.editing.deltaedit import DeltaMapper
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import (
    LONGEST_MESSAGE,
    ConfigError,
    DownloadError,
    PhotoError,
    SfeError,
    TrainingError,
    VideoError,
    WeightsError,
)
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.methods.folder import load_any_config, local_methods
from stylefeatureeditor.photo.image import read_photo
from stylefeatureeditor.photo.session_file import load_session
from stylefeatureeditor.training.checkpoints import load_checkpoint
from stylefeatureeditor.training.run_folder import find_discriminator, load_generator, read_record
from stylefeatureeditor.video.reading import open_clip, picture_stream
from stylefeatureeditor.video.tracks import Scan
from stylefeatureeditor.weights.checkpoint import load_config as load_model_config
from stylefeatureeditor.weights.code_files import read_codes
from stylefeatureeditor.weights.configs import changed, read_mapping
from stylefeatureeditor.weights.storage import load_tensors, read_json
from stylefeatureeditor.weights.unpickle import read_torch
from tiny import SIZE, STYLES, WIDTH, tiny_directions, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("generator", "mapping_layers"), 1_000_000),
        (("generator", "size"), 1 << 62),
        (("generator", "style_dim"), 10**30),
        (("e4e", "trunk", "depths"), [1, 1, 10**6, 1]),
        (("e4e", "trunk", "channels"), [4, 6, 2**63, 10]),
        (("e4e", "size"), 1 << 40),
        (("inverter", "encoder", "trunk", "depths"), [10**6, 1, 1, 1]),
        (("inverter", "encoder", "num_styles"), 10**6),
        (("inverter", "fuser", "num_residual_layers"), 10**6),
        (("feature_editor", "num_residual_layers"), 10**6),
    ],
)
def test_a_config_that_asks_for_endless_networks_is_one_sentence(path, value, tmp_path):
    content = json.loads(json.dumps(seeds.configs()[0]))
    place = content["model"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="at most"):
        load_model_config(tmp_path)


def test_a_header_of_a_hundred_megabytes_is_not_parsed(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 90 << 20) + b" " * (9 << 20))
    with pytest.raises(WeightsError, match="at most 8388608 are read"):
        load_tensors(path)


def test_a_table_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "directions.json"
    with path.open("wb") as file:
        file.truncate(1 << 33)  # holes: it takes no room
    with pytest.raises(WeightsError, match="too large"):
        read_json(path)


@pytest.mark.parametrize("member", ["archive/data.pkl", "archive/data/0", "archive/code/data.pkl"])
@pytest.mark.parametrize("constants", [True, False])
def test_a_checkpoint_that_unfolds_is_refused(member, constants, tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(50 << 20))
        if constants:
            archive.writestr("archive/constants.pkl", b"")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(WeightsError, match="compressed or overlapping"):
        read_torch(path)


def test_torchscript_with_its_compressed_code_is_still_read(tmp_path):
    path = tmp_path / "script.pt"
    path.write_bytes(seeds.torch_files()["script.pt"])
    assert set(read_torch(path)) == {"first.weight", "first.bias", "mean"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("to_rgb1.bias", lambda value: value[..., :0]),
        ("to_rgb1.conv.weight", lambda value: value.sum()),
        ("to_rgb1.conv.weight", lambda value: value[None]),
        ("convs.0.noise.weight", lambda _: torch.ones(3)),
        ("convs.0.conv.weight", lambda value: value.sum()),
        ("convs.0.conv.blur.kernel", lambda _: torch.ones(5, 5)),
    ],
)
def test_a_published_tensor_of_another_shape_is_refused(name, change, tmp_path):
    content = dict(seeds.rosinality())
    state = dict(content["g_ema"])
    state[name] = change(state.get(name))
    torch.save({**content, "g_ema": state}, tmp_path / "generator.pt")
    with pytest.raises(WeightsError):
        load_generator(tmp_path / "generator.pt")


def test_icons_are_no_photos_since_opening_one_decodes_any_size():
    png = io.BytesIO()
    Image.new("1", (1000, 1000)).save(png, "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png.getvalue()), 22)
    with pytest.raises(PhotoError, match="not a picture that can be read"):
        read_photo(struct.pack("<HHH", 0, 1, 1) + entry + png.getvalue())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[" * 3000 + "]" * 3000),
        ("b.json", '{"a": ' + "1" * 5000 + "}"),
        ("a.toml", "a = " + "[" * 3000 + "]" * 3000),
        ("a.yaml", "a: 2020-13-01"),
        ("b.yaml", "a: " + "[" * 3000 + "]" * 3000),
        ("c.yaml", "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]"),
    ],
)
def test_settings_that_a_parser_chokes_on_are_one_sentence(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError):
        read_mapping(tmp_path / name)


def test_a_value_of_any_length_is_named_in_short(tmp_path):
    (tmp_path / "run.toml").write_text(f'size = "{"x" * 5000}"\n')
    with pytest.raises(ConfigError, match="must be int") as caught:
        changed(GeneratorConfig(), read_mapping(tmp_path / "run.toml"))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", [WeightsError, DownloadError, ConfigError])
def test_every_message_is_one_line_of_bounded_length(kind):
    said = str(kind("no\nfile\x1b[2J\u202e " + "x" * 9000 + " here: try again"))
    assert said.startswith("no file [2J  xxx")
    assert said.endswith("here: try again")
    assert len(said) <= LONGEST_MESSAGE
    assert isinstance(kind("a"), SfeError)
    assert str(kind("a")) == "a"


@pytest.mark.parametrize("name", ["manifest.csv", "dataset.json"])
def test_a_damaged_table_in_a_zip_is_one_sentence(name, tmp_path):
    content = seeds.image_sets()[f"{name[:4]}.zip"]
    at = content.index(b"PK\x01\x02")  # the directory stays, what it points to does not
    (tmp_path / "set.zip").write_bytes(b"\0" * at + content[at:])
    with pytest.raises(PhotoError):
        open_images(tmp_path / "set.zip", 8)


def test_a_checkpoint_with_a_strange_state_is_passed_over(tmp_path):
    import hashlib

    put(tmp_path, seeds.training_run())
    for state in ('{"state": {"dict": 3}}', '{"state": {"dict": [[[], 1]]}}', "[" * 3000):
        for step in ("step-00000010", "step-00000020"):
            folder = tmp_path / step
            (folder / "state.json").write_text(state)
            sums = [
                f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n"
                for file in ("state.safetensors", "state.json")
            ]
            (folder / "SHA256SUMS").write_text("".join(sums))
        with pytest.raises(TrainingError, match="none of the 2 checkpoints"):
            load_checkpoint(tmp_path)


@pytest.mark.parametrize("steps", ['{"e4e": "nan"}', '{"e4e": [1]}', '{"e4e": null}', "[]"])
def test_a_record_of_steps_that_are_no_numbers_is_refused(steps, tmp_path):
    (tmp_path / "training.json").write_text(f'{{"steps": {steps}}}')
    with pytest.raises(WeightsError, match="whole numbers"):
        read_record(tmp_path)


def test_a_discriminator_is_as_large_as_its_file(tmp_path):
    put(tmp_path, seeds.trained_parts())
    path = tmp_path / "discriminator.safetensors"
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + size])
    sizes = json.loads(header["__metadata__"]["config"])
    sizes |= {"channel_max": 1 << 16, "channel_base": 1 << 21}  # 150 GB
    header["__metadata__"]["config"] = json.dumps(sizes)
    written = json.dumps(header).encode()
    rest = path.read_bytes()[8 + size :]
    path.write_bytes(struct.pack("<Q", len(written)) + written + rest)
    with pytest.raises(WeightsError, match="should be"):
        find_discriminator(None, tmp_path, SIZE)


def test_an_own_direction_may_take_a_published_alias(tmp_path):
    published, own = load_catalog("ffhq"), tiny_directions().entries[0]
    names = {entry.name for entry in published.entries}
    alias, other = next(
        (alias, entry)
        for entry in published.entries
        for alias in entry.aliases
        if alias not in names and alias.isidentifier()
    )
    clash = replace(own, name=alias, aliases=())
    Editor(tiny_model(catalog="ffhq"), Catalog((clash,))).save_pretrained(tmp_path)
    directions = Editor.from_pretrained(tmp_path, device="cpu").directions
    assert directions.find(alias).tensors
    assert directions.find(other.name).file == other.file
    assert len(directions.entries) == len(published.entries) + 1


def test_an_own_direction_replaces_the_published_one_of_its_name():
    published, own = load_catalog("ffhq"), tiny_directions()
    merged = published.with_own(own)
    assert merged.find("age") is own.find("age")
    assert merged.find("grin") is own.find("smile")
    names = [entry.name for entry in merged.entries]
    assert len(names) == len(set(names))
    assert set(names) >= {entry.name for entry in own.entries}


@pytest.mark.parametrize("name", ["faces.quad", "codes"])
def test_an_inversion_with_a_flat_crop_or_code_is_refused(name, tmp_path):
    from safetensors.torch import load_file, save_file

    from stylefeatureeditor.weights.inversion_file import _digest, load_inversion

    path = put(tmp_path, seeds.inversions()) / "faces.safetensors"
    tensors = load_file(path)
    tensors[name] = torch.zeros_like(tensors[name]) if name != "codes" else torch.tensor(1.0)
    save_file(tensors, path, {"inversion_format": "1", "sha256": _digest("", tensors)})
    with pytest.raises(WeightsError, match=f"no sound inversion \\({name}"):
        load_inversion(path)


def giant(sides):
    return torch.ones(1, dtype=torch.uint8).expand(*sides)


def test_one_number_that_says_it_is_a_gigabyte_of_codes_is_refused(tmp_path):
    torch.save(giant((1 << 24, WIDTH)), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="too many for codes"):
        read_codes(tmp_path / "w.pt", STYLES, WIDTH)


def test_tensors_that_repeat_their_numbers_share_one_bound(tmp_path):
    torch.save([giant((1 << 28,)) for _ in range(8)], tmp_path / "a.pt")
    assert len(read_torch(tmp_path / "a.pt")) == 8
    torch.save([giant((1 << 28,)) for _ in range(9)], tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="more data than it holds"):
        read_torch(tmp_path / "a.pt")


def test_a_mapper_of_deltaedit_is_as_large_as_its_file():
    weight = torch.ones(1, 1).expand(1 << 15, 1 << 15)  # 4 GB a layer
    with pytest.raises(WeightsError, match="missing"):
        DeltaMapper.from_state(
            {"coarse.condition.1.weight": weight, "fine.condition.1.weight": weight}
        )


def test_arrays_that_unfold_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", w=np.zeros((1000, STYLES, WIDTH), np.float32))
    with pytest.raises(WeightsError, match="would unfold to 384 kB"):
        read_codes(tmp_path / "w.npz", STYLES, WIDTH)


@pytest.mark.parametrize("name", ["w.npy", "w.npz"])
def test_a_pipe_in_place_of_arrays_does_not_hang(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="numbers"):
        read_codes(tmp_path / name, STYLES, WIDTH)


@pytest.mark.parametrize("value", [5, torch.ones(3), np.ones(3)])
@pytest.mark.parametrize("name", ["_buffers", "_non_persistent_buffers_set"])
def test_a_network_saved_whole_with_strange_tables_is_refused(name, value, tmp_path):
    network = seeds.Own()
    vars(network)[name] = value
    torch.save(network, tmp_path / "g.pt")
    with pytest.raises(WeightsError, match="damaged network"):
        load_generator(tmp_path / "g.pt")


def test_a_clamp_of_tuples_in_tuples_is_not_written_out(tmp_path):
    clamp = ()
    for _ in range(60):  # 2 to the power of 60 of them
        clamp = (clamp, clamp)
    network = seeds.Own()
    network.register_buffer("x", torch.ones(4))
    network._buffers["synthesis.b4.const"] = network._buffers.pop("x")
    network._init_kwargs = {"conv_clamp": clamp}
    torch.save({"G_ema": network}, tmp_path / "g.pt")
    with pytest.raises(WeightsError, match="got a tuple"):
        load_generator(tmp_path / "g.pt")


def test_an_animation_of_any_size_is_refused(tmp_path):
    content = bytearray(seeds.videos()["animated.gif"])
    content[6:10] = struct.pack("<HH", 60000, 60000)
    (tmp_path / "a.gif").write_bytes(content)
    with pytest.raises(VideoError, match="frames of 60000 x 60000"):
        open_clip(tmp_path / "a.gif")


def test_a_playlist_is_no_video_since_it_opens_other_files(tmp_path):
    put(tmp_path, seeds.videos())
    assert open_clip(tmp_path / "a.nut").is_film
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.nut\n")
    with pytest.raises(VideoError, match="cannot be read as a video"):
        open_clip(tmp_path / "list.mp4")


def test_a_film_may_be_called_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a:b.mkv").write_bytes(seeds.videos()["a.mkv"])
    assert len(list(open_clip("a:b.mkv").frames())) == 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("frame", lambda table: table + 1),
        ("frame", lambda table: table[::-1]),
        ("track", lambda table: table + 10**9),
        ("track", lambda table: table.astype(float)),
        ("shot", lambda table: table - 1),
        ("landmarks", lambda table: table * np.nan),
        ("landmarks", lambda table: table[:, :67]),
        ("times", lambda table: 0 * table),
        ("times", lambda table: table[:0]),
        ("cuts", lambda table: table[:0]),
        ("cuts", lambda table: table + 99),
        ("last_length", lambda table: table - 2),
    ],
)
def test_a_side_file_whose_tables_do_not_fit_is_refused(name, change, tmp_path):
    path = put(tmp_path, seeds.scans()) / "scan.npz"
    with np.load(path) as content:
        tables = dict(content)
    assert len(Scan.load(path).frame) == 15
    np.savez(path, **{**tables, name: change(tables[name])})
    with pytest.raises(VideoError, match="damaged"):
        Scan.load(path)


@pytest.mark.parametrize("name", [".", ""])
def test_a_tar_member_without_a_name_is_passed_over(name, tmp_path):
    content = seeds.pictures()["a.bmp"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for each in (name, "a.bmp"):
            member = tarfile.TarInfo(each)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert len(open_images(tmp_path / "a.tar", 8)) == 1


@pytest.mark.parametrize("word", [["psp"], {"psp": 1}, 3])
def test_a_method_that_is_no_word_is_refused_and_hides_no_other_model(word, tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "odd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 1, "method": word}))
    assert "odd" not in local_methods()
    with pytest.raises(WeightsError, match="method must be a word"):
        load_any_config(folder)


def test_a_session_that_is_a_link_to_a_device_is_not_read_for_ever(tmp_path):
    (tmp_path / "a.sfe").symlink_to("/dev/full")
    with pytest.raises(PhotoError, match="regular file"):
        load_session(tmp_path / "a.sfe")


def test_a_film_of_an_unknown_codec_is_refused():
    class Streams(list):
        video = property(list)

    unknown = SimpleNamespace(disposition=0, type="video", codec_context=None)
    with pytest.raises(VideoError, match="a codec that FFmpeg does not know"):
        picture_stream(SimpleNamespace(streams=Streams([unknown])), "film.mkv")


def test_a_config_that_is_a_link_to_an_endless_device_is_refused(tmp_path):
    (tmp_path / "run.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="regular file"):
        read_mapping(tmp_path / "run.toml")


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_a_table_that_cannot_be_read_is_refused(suffix, tmp_path):
    (tmp_path / f"table{suffix}").symlink_to("/proc/self/mem")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_attribute_table(tmp_path / f"table{suffix}")


@pytest.mark.parametrize("name", ["SHA256SUMS", "state.json", "state.safetensors"])
def test_a_checkpoint_with_a_link_to_an_endless_device_is_passed_over(name, tmp_path):
    for file in ("SHA256SUMS", "state.json", "state.safetensors"):
        path = tmp_path / "step-00000010" / file
        path.parent.mkdir(exist_ok=True)
        if file == name:
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(b"")
    with pytest.raises(TrainingError, match="none of the 1"):
        load_checkpoint(tmp_path)
