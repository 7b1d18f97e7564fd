"""What the tests of faults share: everything that the package writes, and ways to make it fail."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import resource
import signal
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from stylefeatureeditor.editing.catalog import Catalog
from stylefeatureeditor.methods.folder import load_method, save_method
from stylefeatureeditor.photo.animation import save_animation
from stylefeatureeditor.photo.image import read_photo, save_photo
from stylefeatureeditor.photo.session_file import SavedPhoto, load_session, save_session
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.checkpoints import load_checkpoint, save_checkpoint
from stylefeatureeditor.video.reading import Clip, Frame, open_clip
from stylefeatureeditor.video.tracks import Scan
from stylefeatureeditor.video.writing import Target, write_segment
from stylefeatureeditor.weights.checkpoint import load_model, save_model
from stylefeatureeditor.weights.code_files import read_codes, save_codes
from stylefeatureeditor.weights.configs import read_mapping, write_config
from stylefeatureeditor.weights.direction_files import load_own_directions, save_own_directions
from stylefeatureeditor.weights.inversion_file import load_inversion, save_inversion
from stylefeatureeditor.weights.sources import Source
from stylefeatureeditor.weights.storage import read_json, write_json
from synthetic_face import soft_photo
from tiny import tiny_directions, tiny_editor, tiny_model, tiny_photos
from tiny_methods import tiny_method_editor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = bytes(range(256)) * 40


def source_of(url: str, content: bytes = CONTENT) -> Source:
    """Return what a server's file is, with its size and checksum."""
    return Source(
        name="model",
        file_name="model.bin",
        urls=(url,),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="MIT",
        what="a model",
        feeds="tests",
    )


@dataclass(frozen=True)
class Writer:
    """Something the package saves, in two versions, and how it is read again.

    Attributes:
        save: writes version 0 or 1 into a folder.
        load: reads what is there as something that can be compared; raises if it is not whole.
    """

    save: Callable[[Path, int], object]
    load: Callable[[Path], object]


@cache
def _models():
    return tiny_model(name="first"), tiny_model(name="second")


@cache
def _methods():
    first, second = (tiny_method_editor("psp").method for _ in range(2))
    second.generator.latent_avg.add_(1)
    return first, second


@cache
def _inversions():
    editor = tiny_editor()
    return tuple(editor.invert(tiny_photos(1, name)) for name in ("first", "second"))


def _catalog(version: int) -> Catalog:
    entries = tiny_directions().entries
    return Catalog((entries[0], replace(entries[1], scale=2.0)) if version else entries[1:])


def _run(version: int) -> object:
    run = presets.inverter_run("paper")
    return replace(run, loop=replace(run.loop, seed=version))


def _state(version: int) -> dict[str, object]:
    return {"weight": torch.full((50, 50), float(version)), "version": version}


def _noise(version: int) -> np.ndarray:
    return np.random.default_rng(version).integers(0, 256, (3, 48, 64, 3), np.uint8)


def _save_segment(folder: Path, version: int) -> None:
    frames = [Frame(number, number, 1, pixels) for number, pixels in enumerate(_noise(version))]
    clip = Clip(path=folder, time_base=Fraction(1, 25), rate=Fraction(25))
    write_segment(folder / "a.nut", frames, clip, Target(path=folder / "a.mp4"))


def _film(path: Path) -> str:
    pixels = [torch.tensor(frame.pixels) for frame in open_clip(path).frames()]
    assert len(pixels) == len(_noise(0))
    return _sum({str(number): frame for number, frame in enumerate(pixels)})


def _scan() -> Scan:
    frames = np.arange(9)
    return Scan(frames, 0 * frames, 0 * frames + 1, np.ones((9, 68, 2)), frames, 1, frames[:1])


def _sum(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


WRITERS = {
    "a photo": Writer(
        lambda folder, version: save_photo(
            np.roll(soft_photo(60, 50), version), folder / "out.png"
        ),
        lambda folder: read_photo(folder / "out.png").pixels.tobytes(),
    ),
    "a session": Writer(
        lambda folder, version: save_session(
            "faces", [SavedPhoto(name="a", content=b"photo %d" % version)], folder / "a.sfe"
        ),
        lambda folder: load_session(folder / "a.sfe").photos[0].content,
    ),
    "an inversion": Writer(
        lambda folder, version: save_inversion(_inversions()[version], folder / "a.safetensors"),
        lambda folder: _sum({"w": load_inversion(folder / "a.safetensors").codes.wplus}),
    ),
    "a model": Writer(
        lambda folder, version: save_model(_models()[version], folder),
        lambda folder: _sum(load_model(folder).state_dict()),
    ),
    "a method": Writer(
        lambda folder, version: save_method(_methods()[version], folder),
        lambda folder: _sum(load_method(folder).state_dict()),
    ),
    "directions": Writer(
        lambda folder, version: save_own_directions(_catalog(version), folder),
        lambda folder: (
            str(load_own_directions(folder).to_table()),
            _sum(load_own_directions(folder).tensors()),
        ),
    ),
    "a checkpoint of training": Writer(
        lambda folder, version: save_checkpoint(
            folder, 10 + version, _state(version), lambda _: None, keep=1
        ),
        lambda folder: str(load_checkpoint(folder)),
    ),
    "codes for other tools": Writer(
        lambda folder, version: save_codes(
            torch.full((1, 18, 64), float(version)), folder / "w.npy"
        ),
        lambda folder: _sum({"w": read_codes(folder / "w.npy", 18, 64)}),
    ),
    "an animation": Writer(
        lambda folder, version: save_animation(
            [Image.fromarray(noise) for noise in _noise(version)], folder / "a.gif"
        ),
        lambda folder: _film(folder / "a.gif"),
    ),
    "a segment of a video": Writer(_save_segment, lambda folder: _film(folder / "a.nut")),
    "the side file of a video": Writer(
        lambda folder, version: replace(_scan(), last_length=version).save(folder / "scan.npz"),
        lambda folder: Scan.load(folder / "scan.npz").last_length,
    ),
    "settings": Writer(
        lambda folder, version: write_config(_run(version), folder / "config.toml"),
        lambda folder: str(read_mapping(folder / "config.toml")),
    ),
    "a table": Writer(
        lambda folder, version: write_json(
            folder / "t.json", {"version": "x" * 5000 + str(version)}
        ),
        lambda folder: str(read_json(folder / "t.json")),
    ),
}


def versions(writer: Writer, folder: Path) -> tuple[object, object]:
    """Return what both versions look like when they are read again."""
    found = []
    for version in (0, 1):
        place = folder / str(version)
        place.mkdir(parents=True)
        writer.save(place, version)
        found.append(writer.load(place))
    assert found[0] != found[1]
    return found[0], found[1]


def visible(folder: Path) -> dict[str, str]:
    """Return the digest of every file that is not hidden."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


@contextlib.contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Let every write beyond `size` bytes of a file fail, in whatever language it is made."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails with an errno instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)


@contextlib.contextmanager
def failing(calls: dict[str, int], monkeypatch) -> Iterator[None]:
    """Let os functions fail with an errno: {"fsync": errno.ENOSPC}."""

    def refuse(code: int) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        return call

    with monkeypatch.context() as patch:
        for name, code in calls.items():
            patch.setattr(os, name, refuse(code))
        yield


@contextlib.contextmanager
def unwritable(folder: Path, monkeypatch) -> Iterator[None]:
    """Forbid to write in a folder; simulated, since the superuser may write anywhere."""
    makers = ("open", "mkdir", "touch", "replace", "rename")

    def guard(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(self: Path, *args: object, **kwargs: object) -> object:
            mode = str(args[0] if args else kwargs.get("mode", "r"))
            writes = name != "open" or set("wax+") & set(mode)
            inside = folder in (self, *self.parents)
            if writes and inside and not (name == "mkdir" and self.exists()):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
            return real(self, *args, **kwargs)

        return call

    real_open = os.open

    def open_to_read(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_open(path, flags, *args, **kwargs)

    with monkeypatch.context() as patch:
        for name in makers:
            patch.setattr(Path, name, guard(name, getattr(Path, name)))
        patch.setattr(os, "open", open_to_read)
        yield


def killed_at(step: int, work: Callable[[], object], calls: tuple[str, ...]) -> bool:
    """Do `work` in a copy of this process that is killed before its `step`-th call; True if it was.

    Args:
        step: from 0.
        work: what is done.
        calls: functions of `os` that count, such as "fsync" and "replace".
    """
    child = os.fork()
    if child == 0:
        seen = itertools.count()

        def one_more() -> None:
            if next(seen) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        failed = True
        try:
            with _counting(calls, one_more):
                work()
            failed = False
        finally:
            os._exit(failed)  # nothing of the test goes on here
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def calls_of(work: Callable[[], object], calls: tuple[str, ...]) -> int:
    """Do `work` and count its calls of functions of `os`."""
    seen: list[None] = []
    with _counting(calls, lambda: seen.append(None)):
        work()
    return len(seen)


@contextlib.contextmanager
def _counting(calls: tuple[str, ...], before: Callable[[], object]) -> Iterator[None]:
    """Call `before` ahead of every call of some functions of `os`."""

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            before()
            return real(*args, **kwargs)

        return call

    with contextlib.ExitStack() as stack:
        for name in calls:
            stack.enter_context(mock.patch.object(os, name, counted(getattr(os, name))))
        yield
