"""What is fuzzed: for each kind of input, sound files, a way to damage one, and who reads it.

A reader goes as far as a user would: a model that loads is drawn with, a direction that loads is
applied. It may return or raise an SfeError; anything else is a defect.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch

from fuzz import mutate, seeds
from stylefeatureeditor.errors import SfeError
from tiny import SIZE, STYLES, WIDTH, tiny_config, tiny_editor, tiny_photos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from fuzz.seeds import Files

MAX_PIXELS = 1_000_000  # of a fuzzed picture: a larger header is refused, as 200 MP are by default


@dataclass(frozen=True)
class Target:
    """One row of the report.

    Attributes:
        name: what is damaged.
        share: how many inputs of a run of 1000 it gets.
        seeds: the sound files that are damaged, by their path in the folder.
        damage: (rng, path, content) -> content.
        read: reads the file at a path; what lies beside it is sound.
        beside: files that lie in the folder too.
    """

    name: str
    share: int
    seeds: Callable[[], Files]
    damage: Callable[[Random, str, bytes], bytes]
    read: Callable[[Path], object]
    beside: Callable[[], Files] = field(default=dict)

    def case(self, rng: Random) -> tuple[str, bytes]:
        """Return the path and the content of a damaged file."""
        sound = self.seeds()
        path = rng.choice(sorted(sound))
        return path, self.damage(rng, path, sound[path])


def _blind(rng: Random, _: str, content: bytes) -> bytes:
    return mutate.data(rng, content)


def _damage_picture(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith(".png") and rng.random() < 0.7:
        return mutate.png(rng, content)
    if rng.random() < 0.3:  # headers are short, and most of the format is in them
        return mutate.data(rng, content[:64]) + content[64:]
    return mutate.data(rng, content)


def _damage_json(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith(".json"):
        return mutate.json_text(rng, json.loads(content))
    return mutate.safetensors(rng, content)


def _damage_settings(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith(".json"):
        return mutate.json_text(rng, json.loads(content))
    words = ("[", "]", "[[a]]", "- &a [*a]", "&b [1]", "*b", "!!int 1", "2020-13-01", "0x", "1e999")
    return mutate.text(rng, content.decode(), words)


def _damage_archive(rng: Random, path: str, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return mutate.data(rng, content)
    if path.endswith(".tar"):
        return mutate.tarred(rng, content)
    return mutate.zipped(rng, content, lambda _, inner: mutate.data(rng, inner))


def _damage_torch(rng: Random, _: str, content: bytes) -> bytes:
    if not content.startswith(b"PK") or rng.random() < 0.2:
        return mutate.data(rng, content)
    return mutate.zipped(rng, content, lambda _, inner: mutate.data(rng, inner))


_TRAP = b"cfuzz.seeds\nTrap\n"
_TRAPS = (  # what makes an instance, or runs something, in the language of pickles
    _TRAP,
    _TRAP + b")R",
    _TRAP + b")\x81",
    _TRAP + b")\x81}b",
    _TRAP + b")\x81)b",
    _TRAP + b")}\x92",
    b"(" + _TRAP + b"o",
    b"(ifuzz.seeds\nTrap\n",
    b"cfuzz.seeds\nTrap.call\n)R",
    b"\x8c\x0afuzz.seeds\x8c\x09Trap.call\x93)R",
    b"ccopyreg\n_reconstructor\n(" + _TRAP + b"cbuiltins\nobject\nNtR",
    b"cbuiltins\ngetattr\n(" + _TRAP + b"X\x04\x00\x00\x00calltR)R",
    b"\x82\x01",
    b"(" * 2000 + b"t" * 2000,
    b"]2" + b"a" * 3,
    b"L" + b"9" * 6000 + b"L\n.",
)


def _damage_whole(rng: Random, path: str, content: bytes) -> bytes:
    """Put traps between the steps of the pickle, in place of names, or damage it blindly."""
    if rng.random() < 0.3:
        return _damage_torch(rng, path, content)

    def trapped(_: str, inner: bytes) -> bytes:
        trap, places = rng.choice(_TRAPS), [found.start() for found in _STEPS.finditer(inner)]
        at = rng.choice(places)
        end = inner.index(b"\n", inner.index(b"\n", at) + 1) + 1
        return inner[:at] + trap + inner[end if rng.random() < 0.7 else at :]

    if not content.startswith(b"PK"):
        return trapped("", content)
    return mutate.zipped(rng, content, trapped, "data.pkl")


_STEPS = re.compile(rb"c[\w.]+\n[\w.]+\n")  # a name


def _damage_state(rng: Random, _: str, __: bytes) -> bytes:
    """Keep the container whole and change the tensors: names, shapes, kinds, values."""
    content = {key: _changed_tensors(rng, value) for key, value in seeds.rosinality().items()}
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def _changed_tensors(rng: Random, value: object) -> object:
    if isinstance(value, torch.Tensor):
        return _changed_tensor(rng, value) if rng.random() < 0.3 else value
    state = dict(value)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        key = rng.choice(sorted(state))
        match rng.randrange(5):
            case 0:
                del state[key]
            case 1:
                state[rng.choice((key + "x", "noises.noise_99", "convs.7.conv.weight", ""))] = state
            case 2:
                state[rng.choice(sorted(state))] = state.pop(key)
            case _:
                if isinstance(state[key], torch.Tensor):
                    state[key] = _changed_tensor(rng, state[key])
    return {key: item for key, item in state.items() if item is not state}


_ODD: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (  # what no network holds
    lambda x: x.to_sparse(),
    lambda x: torch.empty_like(x, device="meta"),
    lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8),
    lambda x: x.flatten()[:1].expand(1 << 40),  # one number that says it is four terabytes
    lambda x: x.float().conj().imag if x.is_complex() else x.float().to(torch.complex64).conj(),
)


def _changed_tensor(rng: Random, tensor: torch.Tensor) -> torch.Tensor:
    match rng.randrange(8):
        case 7:
            return rng.choice(_ODD)(tensor)
        case 0:
            return tensor[..., :0] if tensor.ndim else tensor[None]
        case 1:
            return tensor[None]
        case 2:
            return tensor.flatten()
        case 3:
            kinds = (torch.float16, torch.int64, torch.bool, torch.complex64, torch.float64)
            return tensor.to(rng.choice(kinds))
        case 4:
            odd = rng.choice((float("nan"), float("inf"), 1e30, 0.0))
            return torch.full_like(tensor, odd if tensor.is_floating_point() else 0)
        case 5:
            return torch.cat([tensor, tensor]) if tensor.ndim else tensor
        case _:
            return tensor.new_tensor(rng.choice(([], 1.0, [[1.0]])))


def _damage_inversion(rng: Random, _: str, content: bytes) -> bytes:
    """Damage the file; or damage its tensors and sign it anew, so that the checks inside run."""
    if rng.random() < 0.4:
        return mutate.safetensors(rng, content)
    from safetensors.torch import load, save

    from stylefeatureeditor.weights.inversion_file import _digest

    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])["__metadata__"]
    tensors = load(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(sorted(tensors))
        match rng.randrange(5):
            case 0:
                del tensors[name]
            case 1:
                other = rng.choice((name + "x", "codes.conv.0", "faces.landmarks.7", "photo.exif"))
                tensors[other] = tensors[name].clone()
            case _:
                changed = _changed_tensor(rng, tensors[name])
                if changed.is_sparse or changed.is_meta or changed.numel() > 1 << 24:
                    continue  # no safetensors file can hold these
                changed = changed.contiguous()
                if changed.is_quantized:
                    changed = changed.int_repr()
                tensors[name] = changed.real.clone() if changed.is_complex() else changed.clone()
        if not tensors:
            break
    if rng.random() < 0.1:
        header["model"] = rng.choice(mutate.WORDS[:-2])
    header["sha256"] = _digest(header["model"], tensors)
    return save(tensors, header)


def _damage_checkpoint(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith("SHA256SUMS"):
        return mutate.text(rng, content.decode())
    return _damage_json(rng, path, content)


def _damage_array(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith(".safetensors"):
        return mutate.safetensors(rng, content)
    return _damage_torch(rng, path, content)


def _damage_video(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith((".gif", ".webp", ".png")):
        return _damage_picture(rng, path, content)
    if rng.random() < 0.5:  # boxes and headers lie at both ends
        at = rng.choice((200, len(content) - 900))
        return (
            content[:at] + mutate.data(rng, content[at:])
            if at > 200
            else (mutate.data(rng, content[:at]) + content[at:])
        )
    return mutate.data(rng, content)


def _damage_scan(rng: Random, _: str, content: bytes) -> bytes:
    """Damage the file, or change its tables and write it anew."""
    if rng.random() < 0.3:
        return _damage_archive(rng, "", content)
    with np.load(io.BytesIO(content)) as tables:
        changed = dict(tables)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(changed))
        table = changed[name]
        match rng.randrange(6):
            case 0:
                changed[name] = table[..., :0] if table.ndim else table[None]
            case 1:
                changed[name] = table.astype(rng.choice(("f8", "c8", "?", "U8", "u8", "i1", "O")))
            case 2:
                odd = (
                    rng.choice((-1, 2**62, 10**6)),
                    rng.choice((float("nan"), 1e300, float("inf"))),
                )
                changed[name] = np.full_like(table, odd[table.dtype.kind == "f"])
            case 3:
                changed[name] = np.flip(table)
            case 4:
                changed[name] = np.concatenate([table, table]) if table.ndim else table + 10**9
            case _:
                changed[name] = table[None]
    out = io.BytesIO()
    np.savez(out, **changed)
    return out.getvalue()


def _damage_codes(rng: Random, path: str, content: bytes) -> bytes:
    """Damage the file; now and then give it the odd tensors that no tool writes."""
    if path.endswith(".npz"):
        return _damage_archive(rng, path, content)
    if path.endswith(".npy") or rng.random() < 0.5:
        return _damage_array(rng, path, content)
    out = io.BytesIO()
    odd = _changed_tensor(rng, torch.ones(STYLES, WIDTH))
    large = torch.ones(1, dtype=torch.uint8).expand(rng.choice((1 << 10, 1 << 24)), WIDTH)
    torch.save(rng.choice((odd, {"w": odd}, [odd], large)), out)
    return out.getvalue()


def _damage_delta(rng: Random, path: str, content: bytes) -> bytes:
    if path.endswith(".txt"):
        return _damage_text(rng, path, content)
    if path.endswith(".npy") or rng.random() < 0.4:
        return _damage_array(rng, path, content)
    out = io.BytesIO()
    torch.save(_changed_tensors(rng, torch.load(io.BytesIO(content))), out)
    return out.getvalue()


def _damage_text(rng: Random, _: str, content: bytes) -> bytes:
    return mutate.text(rng, content.decode(), ("nan", "1e999", "-1 1 1", ",,,,", '"', "\0"))


def _read_picture(path: Path) -> None:
    from stylefeatureeditor.photo.image import read_photo, save_photo

    photo = read_photo(path, max_pixels=MAX_PIXELS)
    assert photo.pixels.shape[0] * photo.pixels.shape[1] <= MAX_PIXELS
    for name in ("out.png", "out.jpg"):
        save_photo(photo.pixels, path.with_name(name), photo).unlink()


def _read_mask(path: Path) -> None:
    from stylefeatureeditor.photo.face_mask import read_mask

    mask = read_mask(path, (24, 20), (16, 16))
    assert mask.isfinite().all()
    assert 0 <= mask.min() <= mask.max() <= 1


def _read_model(path: Path) -> None:
    from stylefeatureeditor.weights.checkpoint import load_config, load_model

    folder = path.parent
    config = load_config(folder)
    model = load_model(folder)  # refuses the config of another model than its weights
    if config == tiny_config():
        from stylefeatureeditor.methods.sfe import Sfe

        Sfe(model).invert(tiny_photos())


def _read_directions(path: Path) -> None:
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.weights.direction_files import read_direction_file

    editor = Editor.from_pretrained(path.parent, device="cpu")
    layout = editor.model.config.generator.style_layout()
    codes = editor.method.invert(tiny_photos()).codes
    for entry in editor.directions.entries:
        with contextlib.suppress(SfeError):
            entry.load(path.parent, layout, read_direction_file).apply(codes, 1.0)
    editor.directions.to_table()


def _read_direction_file(path: Path) -> None:
    from stylefeatureeditor.editing.import_file import direction_from_tensor, entry_for
    from stylefeatureeditor.records import Codes
    from stylefeatureeditor.weights.direction_files import read_direction_file

    content = read_direction_file(path)
    sizes = {"num_styles": STYLES, "style_dim": WIDTH}
    direction = direction_from_tensor(content, "own", component=2, **sizes)
    entry_for(direction, (-1.0, 1.0))
    moved = direction.apply(Codes(torch.zeros(1, STYLES, WIDTH)), 1.0)
    assert moved.wplus.isfinite().all()


def _read_torch(path: Path) -> None:
    from stylefeatureeditor.weights.convert import convert_generator, read_checkpoint
    from stylefeatureeditor.weights.unpickle import read_torch

    read_torch(path)
    read_checkpoint(path)
    convert_generator(path, path.with_name("part.safetensors"), header={})


def _read_generator(path: Path) -> None:
    from stylefeatureeditor.records import Codes
    from stylefeatureeditor.training.run_folder import load_generator

    generator = load_generator(path)
    mean = generator.latent_avg.expand(1, generator.config.num_styles, -1)
    generator.synthesize(Codes(mean))


def _read_numpy(path: Path) -> None:
    from stylefeatureeditor.weights.styleclip_files import _spreads
    from stylefeatureeditor.weights.unpickle import read_numpy_pickle

    read_numpy_pickle(path)
    _spreads(path)


def _read_safetensors(path: Path) -> None:
    from stylefeatureeditor.weights.storage import load_tensors

    for tensor in load_tensors(path)[0].values():
        tensor.float().sum()


def _read_inversion(path: Path) -> None:
    from stylefeatureeditor.weights.inversion_file import load_inversion

    inversion = load_inversion(path)
    tiny_editor().edit(inversion, {"smile": 1.0}, mask="face" if inversion.faces else None)


def _read_session(path: Path) -> None:
    from stylefeatureeditor.photo.session_file import load_session

    for photo in load_session(path).photos:
        if len(photo.content) < MAX_PIXELS:
            tiny_editor().edit_saved(photo)


def _read_settings(path: Path) -> None:
    from stylefeatureeditor.weights.configs import changed, read_mapping, to_plain, write_config

    run = seeds.training_runs()[path.stem]
    whole = changed(run, read_mapping(path))
    for suffix in (".toml", ".json"):  # a run keeps its settings beside its checkpoints
        kept = path.with_name(f"kept{suffix}")
        write_config(whole, kept)
        again = to_plain(changed(run, read_mapping(kept)))
        kept.unlink()
        assert repr(again) == repr(to_plain(whole))


def _read_table(path: Path) -> None:
    from stylefeatureeditor.data.attribute_table import read_attribute_table

    table = read_attribute_table(path)
    table.align([f"faces/{number:06d}.jpg" for number in range(1, 9)])


def _read_images(path: Path) -> None:
    from stylefeatureeditor.data.attribute_table import read_attribute_table
    from stylefeatureeditor.data.images import open_images

    images = open_images(path, 8, workers=1)
    images.photos(range(len(images)))
    read_attribute_table(path).align(images.names)


def _read_checkpoint(path: Path) -> None:
    """Read the run; its checkpoint is signed anew so that damage inside is met."""
    from stylefeatureeditor.training.checkpoints import load_checkpoint

    if path.name != "SHA256SUMS" and not path.is_symlink():
        names = ("state.safetensors", "state.json")
        sums = [hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in names]
        lines = "".join(f"{digest}  {name}\n" for digest, name in zip(sums, names, strict=True))
        (path.parent / "SHA256SUMS").write_text(lines)
    found = load_checkpoint(path.parents[1])
    assert found is not None
    assert found[0] in (10, 20)


def _read_parts(path: Path) -> None:
    from stylefeatureeditor.training.run_folder import (
        find_discriminator,
        load_generator,
        read_record,
    )

    read_record(path.parent)
    load_generator(path.parent / "generator.safetensors")
    find_discriminator(None, path.parent, SIZE)


def _read_codes(path: Path) -> None:
    from stylefeatureeditor.weights.code_files import read_codes

    codes = read_codes(path, STYLES, WIDTH)
    assert codes.shape[1:] == (STYLES, WIDTH)
    assert codes.isfinite().all()


def _read_video(path: Path) -> None:
    from stylefeatureeditor.video.reading import open_clip

    clip = open_clip(path)
    float(clip.rate), float(clip.time_base)
    for frame in itertools.islice(clip.frames(), 50):
        assert frame.pixels.shape[2] == 3


def _read_scan(path: Path) -> None:
    from stylefeatureeditor.video.tracks import Scan, smooth

    scan = Scan.load(path)
    tracks = smooth(scan, 25, tiny_config().framing)
    assert np.isfinite(tracks.quad).all()
    assert len(tracks.of("largest").times) > tracks.frame.max()


def _read_delta(path: Path) -> None:
    from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
    from stylefeatureeditor.records import Codes
    from stylefeatureeditor.weights import styleclip_files

    sizes = GeneratorConfig(size=64, style_dim=4, mapping_layers=1, channel_base=512, channel_max=8)
    stand_ins = {
        "clip_text_encoder": lambda _: lambda texts: torch.eye(2)[[len(t) % 2 for t in texts]],
        "clip_image_encoder": lambda _, **__: lambda photos: torch.ones(len(photos), 2),
    }
    with mock.patch.multiple(styleclip_files, **stand_ins):
        edits = styleclip_files.load_delta_edits(path.parents[1], Generator(sizes))
    direction = edits.direction("face", "faces", 0.0).seeing(torch.zeros(1, 3, 64, 64))
    direction.apply(Codes(torch.zeros(1, sizes.num_styles, 4)), 1.0)


def _read_whole(path: Path) -> None:
    from stylefeatureeditor.weights.convert import read_checkpoint

    seeds.Trap.sprung.clear()
    try:
        read_checkpoint(path)
        _read_generator(path)
    finally:
        assert not seeds.Trap.sprung


def _only(name: str) -> Callable[[], Files]:
    return lambda: {name: seeds.torch_files()[name]}


def _model(*names: str) -> Callable[[], Files]:
    return lambda: {name: seeds.model()[name] for name in names}


def _configs() -> Files:
    """The seed of config.json; `_damage_config` takes one of several models."""
    return {"config.json": b""}


def _damage_config(rng: Random, _: str, __: bytes) -> bytes:
    return mutate.json_text(rng, rng.choice(seeds.configs()))


WEIGHTS = tuple(
    f"{name}.safetensors" for name in ("generator", "e4e", "inverter", "feature_editor")
)
TARGETS = (
    Target("pictures in 14 formats", 150, seeds.pictures, _damage_picture, _read_picture),
    Target("pictures as masks", 20, seeds.pictures, _damage_picture, _read_mask),
    Target("config.json of a model", 60, _configs, _damage_config, _read_model, seeds.model),
    Target("weights of a model", 15, _model(*WEIGHTS), _damage_json, _read_model, seeds.model),
    Target(
        "directions of a model",
        25,
        _model("directions.json", "directions.safetensors"),
        _damage_json,
        _read_directions,
        seeds.model,
    ),
    Target("direction files", 70, seeds.direction_files, _damage_array, _read_direction_file),
    Target("torch checkpoints, TorchScript", 90, seeds.torch_files, _damage_torch, _read_torch),
    Target("generators saved whole", 60, seeds.whole_generators, _damage_whole, _read_whole),
    Target("codes of other tools", 60, seeds.code_files, _damage_codes, _read_codes),
    Target("videos and animations", 60, seeds.videos, _damage_video, _read_video),
    Target("side files of videos", 40, seeds.scans, _damage_scan, _read_scan),
    Target(
        "files of DeltaEdit", 40, seeds.delta_edits, _damage_delta, _read_delta, seeds.delta_edits
    ),
    Target("states of a generator", 50, _only("generator.pt"), _damage_state, _read_generator),
    Target("NVIDIA pickles", 60, seeds.nvidia_files, _blind, _read_generator),
    Target("numpy pickles", 60, seeds.numpy_files, _blind, _read_numpy),
    Target("safetensors", 50, _model("directions.safetensors"), _damage_json, _read_safetensors),
    Target("saved sessions", 20, seeds.sessions, _blind, _read_session),
    Target("inversion files", 60, seeds.inversions, _damage_inversion, _read_inversion),
    Target("settings of training", 90, seeds.settings, _damage_settings, _read_settings),
    Target("attribute tables", 60, seeds.tables, _damage_text, _read_table),
    Target("image sets", 40, seeds.image_sets, _damage_archive, _read_images),
    Target(
        "checkpoints of training",
        50,
        seeds.training_run,
        _damage_checkpoint,
        _read_checkpoint,
        seeds.training_run,
    ),
    Target(
        "networks of training",
        50,
        seeds.trained_parts,
        _damage_json,
        _read_parts,
        seeds.trained_parts,
    ),
)
