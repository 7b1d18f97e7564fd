"""Our own format on disk: tensors in safetensors, configuration in JSON, both written whole.

A file is either complete or not there. Loaded tensors begin at multiples of ALIGNMENT, as torch's
own do: elsewhere some kernels sum in another order, and a saved model would draw other pictures.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import atomic_path, regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

MAX_HEADER_BYTES = 8 << 20  # of safetensors; ours have some hundred bytes per tensor
MAX_JSON_BYTES = 8 << 20
ALIGNMENT = 64  # bytes
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str],
    float_dtype: torch.dtype | None = None,
) -> None:
    """Write `tensors` and `header` to one safetensors file, whole or not at all.

    Those of a multiple of ALIGNMENT bytes come first, so each of them begins at one. Two names may
    share memory. Floats are converted to `float_dtype`, unless that is None. WeightsError if a
    value does not fit `float_dtype`, or the file cannot be written.
    """
    stored = {
        name: _convert(name, tensor.detach().cpu(), float_dtype) for name, tensor in tensors.items()
    }
    try:
        with atomic_path(path) as temporary:
            _write(temporary, stored, header)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {_reason(error)}.") from error


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """The format: the length of a JSON text, 8 bytes; the text; the tensors without a gap."""
    names = sorted(tensors, key=lambda name: (tensors[name].nbytes % ALIGNMENT > 0, name))
    entries: dict[str, Any] = {"__metadata__": dict(header)} if header else {}
    end = 0
    for name in names:
        tensor, begin = tensors[name], end
        end += tensor.nbytes
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)


def _convert(name: str, tensor: Tensor, float_dtype: torch.dtype | None) -> Tensor:
    if tensor.dtype not in _DTYPES:
        raise WeightsError(f"{name} is {tensor.dtype}, which is not kept in files")
    if float_dtype is None or not tensor.is_floating_point():
        return tensor
    converted = tensor.to(float_dtype)
    if not torch.equal(converted.isfinite(), tensor.isfinite()):
        raise WeightsError(
            f"{name} holds values beyond the range of {float_dtype}: keep it in {tensor.dtype}."
        )
    return converted


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: (name -> CPU tensor, header).

    The file is mapped: memory is used only for the tensors that are touched, and processes that
    read the same file share it. Tensors that begin at no multiple of ALIGNMENT, as in files of
    other writers, are copied, unless they are narrower than float32: networks convert those.
    WeightsError if the file is missing, damaged, truncated, or of another format.
    """
    try:
        _check_header(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: _aligned(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except WeightsError:
        raise
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist: expected a .safetensors file.") from error
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is not a complete .safetensors file ({_reason(error)}): "
            "convert or download it again."
        ) from error


def _aligned(tensor: Tensor) -> Tensor:
    narrow = tensor.element_size() < torch.float32.itemsize
    return tensor if narrow or tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _check_header(path: Path) -> None:  # before it is parsed
    with regular(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path} is not a complete .safetensors file (its header would have {size} bytes, at "
            f"most {MAX_HEADER_BYTES} are read): convert or download it again."
        )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented UTF-8 JSON, whole or not at all; WeightsError if it cannot be."""
    text = json.dumps(dict(content), indent=2, ensure_ascii=False) + "\n"
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {_reason(error)}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; WeightsError if it is missing, damaged, too large or no object."""
    try:
        if regular(path).stat().st_size > MAX_JSON_BYTES:
            raise WeightsError(f"{path} is too large for a table: more than {MAX_JSON_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except WeightsError:
        raise
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist: expected a JSON file.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not readable as JSON: {_reason(error)}.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {type(content).__name__}.")
    return content


def _reason(error: Exception) -> str:
    """The first line of what went wrong, without the full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")
