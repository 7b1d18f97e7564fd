"""Fetching published files: resumable, verified, atomic, and only when asked.

A download grows in `NAME.part` and is renamed to `NAME` once size and SHA-256 are right, so a
file under its own name is always whole. `NAME.lock` keeps two processes from writing one file.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import ConfigError, DownloadError
from stylefeatureeditor.files import replace, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stylefeatureeditor.weights.sources import Source

    Progress = Callable[[int, int | None], None]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
BACKOFF_SECONDS = (1.0, 2.0, 4.0)  # before the second, third and fourth attempt at one address
LOCK_POLL_SECONDS = 0.1
DRIP_SECONDS, DRIP_BYTES = 60.0, 1 << 16  # least bytes in such a time
NO_WEIGHTS = {  # first bytes of what servers send in place of a file
    b"version https://git-lfs": "a Git LFS pointer",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
}
PASSING_STATUSES = frozenset([408, 425, 429, 500, 502, 503, 504])


class _PassingError(Exception):
    """A failure that may not repeat at the next attempt."""


def cache_dir() -> Path:
    """Return SFE_CACHE, or the platform's folder; ConfigError if there is no home folder either."""
    if chosen := os.environ.get("SFE_CACHE"):
        return Path(chosen).expanduser()
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise ConfigError(
            "there is no home folder to keep models in: set SFE_CACHE to a folder."
        ) from error
    return Path(base) / "stylefeatureeditor"


def fetch(source: Source, destination: Path, progress: Progress | None = None) -> Path:
    """Return the path of `source` in the folder `destination`, downloading it if need be.

    A file that is there already is checked and used. An interrupted download goes on where it
    stopped. Several processes may ask for the same file: one downloads, the others wait. `progress`
    is called with (bytes so far, bytes in all or None). DownloadError if no address gave the file,
    what came is not what was promised, or the folder cannot be written.
    """
    target = destination / source.file_name
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            from filelock import FileLock  # imports asyncio, which is slow

            with FileLock(f"{target}.lock", poll_interval=LOCK_POLL_SECONDS):
                if not target.exists():  # else another process fetched it meanwhile
                    return _fetch_any(source, target, progress or (lambda _done, _total: None))
        problem = _problem(source, target)
    except OSError as error:
        raise DownloadError(
            f"cannot write {target} ({error.strerror or error}): set SFE_CACHE to a folder that "
            "can be written."
        ) from error
    if problem:
        raise DownloadError(f"{target} {problem}: delete it and ask for it again.")
    return target


def _problem(source: Source, path: Path) -> str | None:
    """Return what is wrong with a complete file; None if nothing is."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    if source.sha256 is not None and (digest := sha256_file(path)) != source.sha256:
        return f"has the SHA-256 {digest} instead of {source.sha256}"
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    return next((f"is {what}" for mark, what in NO_WEIGHTS.items() if start.startswith(mark)), None)


def _fetch_any(source: Source, target: Path, progress: Progress) -> Path:
    failures = []
    for url in source.urls:
        logger.info("fetching %s", url)
        try:
            return _fetch_one(source, url, target, progress)
        except DownloadError as error:
            failures.append(str(error))
    raise DownloadError(
        f"{'; '.join(failures)}; download {source.urls[0]} by hand and put it at {target}."
    )


def _fetch_one(source: Source, url: str, target: Path, progress: Progress) -> Path:
    part = target.with_name(f"{target.name}.part")
    for pause in (*BACKOFF_SECONDS, None):
        try:
            _receive(source, url, part, progress)
            break
        except _PassingError as error:
            if pause is None:
                raise DownloadError(f"{url} could not be fetched: {error}") from error
            logger.info("%s: %s, trying again in %g s", url, error, pause)
            time.sleep(pause)
    if problem := _problem(source, part):
        _forget(part)
        raise DownloadError(f"what {url} sent {problem}, so it was removed")
    replace(part, target)
    _forget(part)
    return target


def _receive(source: Source, url: str, part: Path, progress: Progress) -> None:
    start, tag = _resume_point(source, part)
    if start and start == source.size:
        return
    headers = {"User-Agent": "stylefeatureeditor", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what we have is longer than the file: it is another file
            _forget(part)
            raise _PassingError("the file has changed") from error
        if error.code in PASSING_STATUSES:
            raise _PassingError(f"it answered {error.code} {error.reason}") from error
        raise DownloadError(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(_reason(error)) from error
    except ValueError as error:  # a redirection to an invalid address
        raise DownloadError(f"{url} leads to no address: {error}") from error
    with response:
        done, total = _promised(source, response, url, start, part)
        _remember(part, response.headers.get("ETag", ""))
        with part.open("ab" if done else "wb") as file:
            for chunk in _chunks(response, done, total, progress):
                file.write(chunk)


def _chunks(
    response: http.client.HTTPResponse, done: int, total: int | None, progress: Progress
) -> Iterator[bytes]:
    """Yield the bytes as they come, at most as many as promised."""
    began, before = time.monotonic(), done
    progress(done, total)
    while done != total:
        try:
            chunk = response.read1(CHUNK_BYTES if total is None else min(CHUNK_BYTES, total - done))
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(_reason(error)) from error
        if not chunk:
            break
        yield chunk
        done += len(chunk)
        progress(done, total)
        if time.monotonic() - began > DRIP_SECONDS:
            if done - before < DRIP_BYTES:
                raise _PassingError(f"only {done - before} bytes came in {DRIP_SECONDS:g} s")
            began, before = time.monotonic(), done
    if total is not None and done != total:
        raise _PassingError(f"the connection ended after {done} of {total} bytes")


def _resume_point(source: Source, part: Path) -> tuple[int, str]:
    """Return (bytes to keep, entity tag or ""); unverifiable bytes are not kept."""
    tag_file = _tag_file(part)
    tag = tag_file.read_text(encoding="ascii") if tag_file.exists() else ""
    size = part.stat().st_size if part.exists() else 0
    fits = source.size is None or size <= source.size
    return (size, tag) if fits and (source.sha256 or tag) else (0, tag)


def _promised(
    source: Source, response: http.client.HTTPResponse, url: str, start: int, part: Path
) -> tuple[int, int | None]:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise DownloadError(f"{url} sent a web page instead of the file")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DownloadError(f"{url} sent the file packed ({headers['Content-Encoding']})")
    size = headers.get("Content-Length", "")
    if response.status == http.client.PARTIAL_CONTENT:
        span = headers.get("Content-Range", "")
        if not span.startswith(f"bytes {start}-"):
            _forget(part)
            raise _PassingError(f"it sent {span or 'an unnamed range'} instead of byte {start}")
        size = span.rpartition("/")[2]
    else:
        start = 0
    total = int(size) if re.fullmatch("[0-9]{1,18}", size) else source.size
    if source.size is not None and total != source.size:
        raise DownloadError(f"{url} offers {total} bytes instead of {source.size}")
    if total is not None and shutil.disk_usage(part.parent).free < total - start:
        raise DownloadError(f"{part.parent} has no room for the {total} bytes of {url}")
    return start, total


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _remember(part: Path, tag: str) -> None:
    """Keep the entity tag, which tells later whether the file is still the same."""
    if tag.isascii() and tag.startswith('"'):  # a weak tag does not vouch for bytes
        _tag_file(part).write_text(tag, encoding="ascii")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)
