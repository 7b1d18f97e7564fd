"""Writing a file so that it is either whole or not there; what reading an archive may raise."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import struct
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISLNK
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Windows refuses to replace a file while a virus scanner or a viewer holds it open.
REPLACE_ATTEMPTS = 5
REPLACE_PAUSE_SECONDS = 0.1
STALE_SECONDS = 86_400  # after which a folder of unfinished files belongs to a dead process

CONFIG_FILE = "config.json"  # of a model folder
HASH_CHUNK_BYTES = 1 << 20
SAVED = ".saved"  # in a folder: files that count already and are not yet moved
STAGE = re.compile(r"\.saving-[0-9a-f]{16}")  # beside or in a folder: files being written
# suffixes of what is saved into folders: networks, tables, published directions, graphs
WRITTEN = frozenset(
    ".safetensors .json .pt .pth .npy .pt2 .onnx .data .xml .bin".split()  # noqa: SIM905
)

# What Python's zip reader is known to raise on damaged archives, besides OSError.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    RuntimeError,  # of it: a compression that Python does not know
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give the block a path to write to, and move what it wrote to `target` when it succeeds.

    The temporary file lies beside `target`, has the same suffix, and starts with a dot. If the
    block raises (an interrupt counts) it is removed and an older `target` stays as it was; a
    process killed inside the block leaves the older `target` too.

    Args:
        target: the file to make or replace. Its folder must exist; a symbolic link is followed.

    Raises:
        OSError: the file cannot be written or moved (the caller knows which sentence fits).
    """
    target = Path(os.path.realpath(target))
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        temporary.touch()
        mode = (target if target.exists() else temporary).stat().st_mode & 0o777
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)  # some libraries write for their owner alone
        replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Give the block an empty folder, and move all that it wrote there into `folder`, or nothing.

    If the block fails, or is killed, older files stay as they were, and a folder that was not there
    is not there. A process killed while files of an older folder are replaced leaves the rest in
    `.saved`: `member` finds them there, and the next save moves them.

    Args:
        folder: made if it is not there; files of the same names are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        folder = Path(os.path.realpath(folder))
    except ValueError as error:  # no name of a file
        raise OSError(errno.EINVAL, str(error)) from error
    place = folder if folder.exists() else folder.parent
    made = [each for each in (place, *place.parents) if not each.exists()]
    stage = place / f".saving-{secrets.token_hex(8)}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        _remove_stale(place)
        stage.mkdir()
        yield stage
        for path in stage.rglob("*"):
            if path.is_file():
                assert path.suffix.lower() in WRITTEN or not folder.exists()
                _flush(path)
        for attempt in range(REPLACE_ATTEMPTS):
            finish_moves(folder)
            try:
                stage.replace(folder / SAVED if folder.is_dir() else folder)
                break  # from here on the new files count
            except OSError:  # another process was quicker
                if attempt == REPLACE_ATTEMPTS - 1:
                    raise
                time.sleep(REPLACE_PAUSE_SECONDS * secrets.randbelow(1000) / 1000 * 2**attempt)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        with suppress(OSError):  # others may have begun to use them
            for each in made:
                each.rmdir()
        raise
    finish_moves(folder)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """As `together`, with a WeightsError where the folder cannot be written."""
    try:
        with together(folder) as stage:
            yield stage
    except OSError as error:
        raise WeightsError(f"{folder} cannot be made or written: {error.strerror}") from error


def finish_moves(folder: Path) -> None:
    """Complete what a process killed at the end of `together` has left; only who saves calls this.

    Raises:
        OSError: the folder cannot be written, or its `.saved` is not what `together` leaves.
    """
    ready = folder / SAVED
    while ready.is_dir() or ready.is_symlink():  # another process may be at it, and may begin anew
        with suppress(FileNotFoundError):
            for path in (ready, *sorted(ready.rglob("*"))):
                target, mode = folder / path.relative_to(ready), path.lstat().st_mode
                if S_ISLNK(mode) or (path != ready and target.is_symlink()):
                    raise OSError(errno.ELOOP, f"no save leaves the link {path}: remove it")
                if S_ISDIR(mode):
                    target.mkdir(exist_ok=True)
                elif path.suffix.lower() not in WRITTEN:
                    raise OSError(errno.EEXIST, f"no save leaves the file {path}: remove it")
                else:
                    with suppress(FileNotFoundError):
                        path.replace(target)
        try:
            for path in (*sorted(ready.rglob("*"), reverse=True), ready):
                path.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise


def member(folder: Path, name: str) -> Path:
    """Return where to read a file of a folder that `together` writes; nothing is changed.

    Args:
        folder: it may be a link itself.
        name: of the file, in the folder or one below it; it need not be there.

    Raises:
        WeightsError: it is a link that leaves the folder. A snapshot in the cache of the Hub may
            lead into the `blobs` beside it.
    """
    ready = folder / SAVED
    unmoved = not ready.is_symlink() and (ready / name).is_file()
    path = ready / name if unmoved else folder / name
    if not path.exists():
        return path
    home, real = folder.resolve(), path.resolve()
    blobs = home.parents[1] / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or real.parent == blobs):
        raise WeightsError(f"{path} is a link that leaves its folder: put the file there instead")
    return path


def _remove_stale(place: Path) -> None:
    for old in place.glob(".saving-*"):
        with suppress(FileNotFoundError):
            if STAGE.fullmatch(old.name) and time.time() - old.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Flush `source` to the disk and move it over `target`, in one step for any reader.

    Raises:
        OSError: the move is not possible; both files are as they were.
    """
    _flush(source)
    for attempt in range(REPLACE_ATTEMPTS):
        try:
            source.replace(target)
            break
        except PermissionError:
            if os.name != "nt" or attempt == REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(REPLACE_PAUSE_SECONDS * 2**attempt)
    if os.name != "nt":  # a folder can be flushed on POSIX only
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def file_word(file: str | Path) -> str:
    """Return the hash of a file, or its name if there is none: "face" is a mask without a file."""
    try:
        return f"picture {sha256_file(Path(file))[:16]}"
    except (OSError, ValueError):
        return str(file)


def regular(path: Path) -> Path:
    """Return a path; reading a pipe or a device might never end.

    Raises:
        OSError: it leads to one of these.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path


def readable_size(count: int | None) -> str:
    """Return a number of bytes as people read it."""
    if count is None:
        return "size not stated"
    size, units = float(count), ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}" if size < 1000 else f"{size:.0f} {units[0]}"
