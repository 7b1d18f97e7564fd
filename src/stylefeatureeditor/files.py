"""Writing a file so that it is either whole or not there; what reading an archive may raise."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import struct
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Windows refuses to replace a file while a virus scanner or a viewer holds it open.
REPLACE_ATTEMPTS = 5
REPLACE_PAUSE_SECONDS = 0.1
STALE_SECONDS = 86_400  # after which a folder of unfinished files belongs to a dead process

# What Python's zip reader is known to raise on damaged archives, besides OSError.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
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

    A process killed inside the block leaves the older files. One killed while they are moved leaves
    the rest in `.saved`: `finish_moves` goes on, so whoever reads the folder calls it first.

    Args:
        folder: made if it is not there; files of the same names are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(".saving-*"):
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    stage = folder / f".saving-{secrets.token_hex(8)}"
    stage.mkdir()
    try:
        yield stage
        for attempt in range(REPLACE_ATTEMPTS):
            finish_moves(folder)
            try:
                stage.replace(folder / ".saved")  # from here on the new files count
                break
            except OSError:  # another process was quicker
                if attempt == REPLACE_ATTEMPTS - 1:
                    raise
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    finish_moves(folder)


def finish_moves(folder: Path) -> None:
    """Complete what a process killed at the end of `together` has left, if there is anything.

    Raises:
        OSError: the folder cannot be written.
    """
    ready = folder / ".saved"
    while ready.is_dir():  # another process may be at it too, and may begin anew
        with suppress(FileNotFoundError):
            for file in sorted(ready.iterdir()):
                with suppress(FileNotFoundError):
                    file.replace(folder / file.name)
        try:
            ready.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def replace(source: Path, target: Path) -> None:
    """Flush `source` to the disk and move it over `target`, in one step for any reader.

    Raises:
        OSError: the move is not possible; both files are as they were.
    """
    with source.open("rb+") as file:
        os.fsync(file.fileno())
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
