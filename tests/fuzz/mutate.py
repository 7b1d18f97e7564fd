"""Ways to damage a file: bytes, JSON, archives, safetensors, PNG chunks; all from a seeded Random.

A blind change of a zip or a PNG dies at its checksum, so members and chunks are changed inside and
the container is written anew: the readers behind it see the damage.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    1 << 20,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 62,
)
SIDES = (0, 1, 3, 40, 4097, 32768, 65535, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)  # of pictures
WORDS = ("", "a", "\0", "nan", "-1", "../../x", "%s{}", "\u202eabc", "x" * 5000, "\ud800", "é名😀")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 17, 1000, 10**6, 2**31, 2**63, 10**30, 0.0, -0.5, 1e-300,
    1e300, float("nan"), float("inf"), *WORDS, [], [0], [[]], {}, {"": 0}, [1, "a", None],
)  # fmt: skip
DEEP, LESS_DEEP = "@3000@", "@900@"  # stand for that many lists in one another


def data(rng: Random, content: bytes) -> bytes:
    """One to eight blind changes: bits, bytes, numbers, and pieces cut, copied or moved."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_CHANGES)(rng, changed, rng.randrange(len(changed) + 1))
    return bytes(changed)


def _flip(rng: Random, changed: bytearray, at: int) -> None:
    changed[at : at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in changed[at : at + 1])


def _set(rng: Random, changed: bytearray, at: int) -> None:
    changed[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])


def _number(rng: Random, changed: bytearray, at: int) -> None:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    changed[at : at + size] = (rng.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, order)


def _cut(rng: Random, changed: bytearray, at: int) -> None:
    del changed[at : at + _length(rng, changed)]


def _end(_: Random, changed: bytearray, at: int) -> None:
    del changed[at:]


def _repeat(rng: Random, changed: bytearray, at: int) -> None:
    changed[at:at] = changed[at : at + _length(rng, changed)]


def _insert(rng: Random, changed: bytearray, at: int) -> None:
    changed[at:at] = rng.randbytes(min(_length(rng, changed), 64))


def _move(rng: Random, changed: bytearray, at: int) -> None:
    other, length = rng.randrange(len(changed) + 1), _length(rng, changed)
    changed[at : at + length] = changed[other : other + length]


def _blank(rng: Random, changed: bytearray, at: int) -> None:
    length = min(_length(rng, changed), len(changed) - at)
    changed[at : at + length] = bytes(length)


def _length(rng: Random, changed: bytearray) -> int:
    return rng.choice((1, 2, 4, 16, 64, rng.randrange(len(changed) + 1)))


_CHANGES = (_flip, _set, _number, _cut, _end, _repeat, _insert, _move, _blank)


def text(rng: Random, content: str, words: tuple[str, ...] = ()) -> bytes:
    """Change words, lines and signs of a text; now and then its bytes."""
    if rng.random() < 0.3:
        return data(rng, content.encode())
    lines = content.split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines.insert(at, rng.choice(lines))
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines[at] = rng.choice(WORDS + words)
            case 3:
                parts = lines[at].split(" ")
                parts[rng.randrange(len(parts))] = rng.choice((*WORDS, *words, *map(str, NUMBERS)))
                lines[at] = " ".join(parts)
            case 4:
                signs = "\",=[]{}:-\n\r\t;'#&*!|>%@`\\"
                place = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + rng.choice(signs) + lines[at][place:]
            case 5:
                head, equals, _ = lines[at].partition("=")
                if equals:
                    value = rng.choice(VALUES)
                    lines[at] = f"{head}= {json.dumps(value)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def plain(rng: Random, content: Any) -> Any:
    """Return a copy of nested dictionaries and lists with one to three places changed."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = _places(content)
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1:
                _misplace(rng, holder, key)
            case 2:
                other, name = rng.choice(places)
                if name in _keys(other):
                    holder[key] = json.loads(json.dumps(other[name]))
            case 3 if type(holder[key]) in (int, float):
                holder[key] = rng.choice((-1, 2, 0.5, 1000, 10**6)) * holder[key]
            case 4:
                holder[key] = rng.choice(([[holder[key]]], DEEP, LESS_DEEP, {}, []))
            case _:
                holder[key] = rng.choice(VALUES)
    return content


def _misplace(rng: Random, holder: Any, key: Any) -> None:
    """Give a value another name, or put it in its list twice."""
    if isinstance(holder, dict):
        holder[rng.choice(WORDS)] = holder.pop(key)
    else:
        holder.insert(key, holder[key])


def json_text(rng: Random, content: Any) -> bytes:
    """Change JSON by its structure, now and then by its bytes."""
    changed = plain(rng, content) if rng.random() < 0.8 else content
    written = dumps(changed)
    return written if rng.random() < 0.8 else data(rng, written)


def dumps(content: Any) -> bytes:
    """Write JSON; the two marks become lists in lists, deeper than the library's writer goes."""
    written = json.dumps(content)
    for mark, depth in ((DEEP, 3000), (LESS_DEEP, 900)):
        written = written.replace(f'"{mark}"', "[" * depth + "]" * depth)
    return written.encode()


def zipped(
    rng: Random, content: bytes, change: Callable[[str, bytes], bytes], ending: str = ""
) -> bytes:
    """Change members of a zip file and write it anew, checksums right; or drop or repeat one.

    Args:
        rng: chooses.
        content: of the file.
        change: (name, content) -> content of a member.
        ending: of the names of the members that are changed.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(item, archive.read(item)) for item in archive.infolist()]
    at = rng.choice([n for n, (item, _) in enumerate(members) if item.filename.endswith(ending)])
    item, inner = members[at]
    match rng.randrange(10):
        case 0:
            del members[at]
        case 1:
            members.append((item, data(rng, inner)))
        case 2:
            item.filename = data(rng, item.filename.encode()).decode("latin-1") or "x"
        case _:
            members[at] = (item, change(item.filename, inner))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice is one of the damages
        for item, inner in members:
            kind = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else item.compress_type
            info = zipfile.ZipInfo(item.filename)
            info.compress_type, info.extra = kind, item.extra
            archive.writestr(info, inner)
    # a second directory behind the first, for readers that disagree about which one counts
    return out.getvalue() + (content if rng.random() < 0.1 else b"")


def tarred(rng: Random, content: bytes) -> bytes:
    """Change members of a tar file and write it anew, checksums right."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as source,
        tarfile.open(fileobj=out, mode="w") as target,
    ):
        for member in source:
            file = source.extractfile(member)
            inner = file.read() if file else b""
            if rng.random() < 0.4:
                inner = data(rng, inner)
                member.size = len(inner)
            if rng.random() < 0.2:
                member.name = rng.choice(("a", "../a.png", ".json", "a.json", "é.cls", "a.png"))
            if rng.random() < 0.1:
                member.type = rng.choice((tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
            target.addfile(member, io.BytesIO(inner))
    return out.getvalue()


def safetensors(rng: Random, content: bytes) -> bytes:
    """Change the header of a safetensors file by its structure, or the file by its bytes."""
    size = struct.unpack("<Q", content[:8])[0]
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    match rng.randrange(6):
        case 0:
            return data(rng, content)
        case 1:
            return struct.pack("<Q", rng.choice(NUMBERS)) + content[8:]
        case 2:
            rest = data(rng, rest)
        case _:
            header = plain(rng, header)
    written = dumps(header)
    return struct.pack("<Q", len(written)) + written + rest


def png(rng: Random, content: bytes) -> bytes:
    """Change the content of PNG chunks and give them the right checksum."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    chosen = rng.randrange(len(chunks))
    match rng.randrange(7):
        case 0:
            chunks.insert(chosen, list(rng.choice(chunks)))
        case 1:
            del chunks[chosen]
        case 3:
            sides = struct.pack(">II", rng.choice(SIDES), rng.choice(SIDES))
            chunks[0][1] = sides + chunks[0][1][8:]
        case 2:
            chunks[chosen][0] = rng.choice((b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"acTL", b"iTXt"))
        case _:
            chunks[chosen][1] = data(rng, chunks[chosen][1])
    out = content[:8]
    for kind, inner in chunks:
        out += struct.pack(">I", len(inner)) + kind + inner
        out += struct.pack(">I", zlib.crc32(kind + inner))
    return out


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of nested dictionaries and lists."""
    found: list[tuple[Any, Any]] = []
    pending = [content]
    while pending:
        holder = pending.pop()
        if isinstance(holder, (dict, list)):
            found += [(holder, key) for key in _keys(holder)]
            pending += [holder[key] for key in _keys(holder)]
    return found


def _keys(holder: Any) -> Any:
    return list(holder) if isinstance(holder, dict) else range(len(holder))
