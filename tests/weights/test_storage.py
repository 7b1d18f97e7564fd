"""safetensors and JSON on disk."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stylefeatureeditor import files
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import sha256_file
from stylefeatureeditor.weights import storage
from stylefeatureeditor.weights.storage import (
    ALIGNMENT,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
)


def test_tensors_and_header_come_back_as_they_were(tmp_path):
    base = torch.randn(4, 6)
    tensors = {
        "plain": base,
        "turned": base.T,
        "part": base[1:, ::2],
        "same": base,
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "half": torch.ones(2).half(),
        "flags": torch.tensor([True, False]),
        "grad": torch.nn.Parameter(torch.ones(1)),
    }
    path = tmp_path / "model.safetensors"
    save_tensors(path, tensors, {"step": "7", "source": "ä"})
    loaded, header = load_tensors(path)
    assert header == {"step": "7", "source": "ä"}
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor.detach(), rtol=0, atol=0)
    assert list(tmp_path.iterdir()) == [path]


ODD = {"a": torch.randn(3), "b": torch.randn(16, 4), "c": torch.randn(5, 7), "d": torch.randn(32)}


def test_loaded_tensors_begin_where_torchs_own_do(tmp_path):
    save_file(ODD, tmp_path / "foreign.safetensors")
    save_tensors(tmp_path / "own.safetensors", ODD, {"step": "7"})
    with safe_open(tmp_path / "foreign.safetensors", "pt") as file:
        assert any(file.get_tensor(name).data_ptr() % ALIGNMENT for name in ODD)
    for name in ("foreign", "own"):
        loaded, _ = load_tensors(tmp_path / f"{name}.safetensors")
        for key, tensor in loaded.items():
            assert tensor.data_ptr() % ALIGNMENT == 0
            assert torch.equal(tensor, ODD[key])


def test_whole_lines_of_our_files_are_mapped_and_need_no_copy(tmp_path):
    path = tmp_path / "own.safetensors"
    save_tensors(path, ODD, {"step": "7"})
    with safe_open(path, "pt") as file:
        assert all(file.get_tensor(name).data_ptr() % ALIGNMENT == 0 for name in "bd")
        assert file.metadata() == {"step": "7"}


def test_a_kind_of_number_that_files_do_not_hold_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"z is torch\.complex64, which is not kept in files"):
        save_tensors(tmp_path / "own.safetensors", {"z": torch.ones(2, dtype=torch.complex64)}, {})
    assert not list(tmp_path.iterdir())


def test_saving_in_half_precision_converts_floats_only(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"w": torch.tensor([0.1, float("inf")]), "n": torch.arange(3)}
    save_tensors(path, tensors, {}, float_dtype=torch.float16)
    loaded, header = load_tensors(path)
    assert loaded["w"].dtype == torch.float16
    assert loaded["n"].dtype == torch.int64
    assert header == {}
    with pytest.raises(WeightsError, match=r"big holds values beyond the range of torch\.float16"):
        save_tensors(path, {"big": torch.tensor([1e6])}, {}, float_dtype=torch.float16)
    assert set(load_tensors(path)[0]) == {"w", "n"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(error, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"w": torch.ones(1)}, {})

    def write_half(path, _tensors, header):
        path.write_text(f"half {header}")
        raise error

    monkeypatch.setattr(storage, "_write", write_half)
    expected = WeightsError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        save_tensors(path, {"w": torch.zeros(1)}, {})
    assert load_tensors(path)[0]["w"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="cannot be written"):
        save_tensors(tmp_path / "no" / "model.safetensors", {"w": torch.ones(1)}, {})
    with pytest.raises(WeightsError, match="cannot be written"):
        write_json(tmp_path / "no" / "config.json", {})


def test_a_damaged_truncated_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.randn(50)}, path)
    data = path.read_bytes()
    torch.save({"w": torch.ones(2)}, tmp_path / "model.pt")
    foreign = (tmp_path / "model.pt").read_bytes()
    for content in (b"", data[:4], data[:40], data[:-1], data + b"x", b"\xff" * 100, foreign):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"model\.safetensors is not a complete"):
            load_tensors(path)
    with pytest.raises(WeightsError, match="does not exist"):
        load_tensors(tmp_path / "missing.safetensors")
    with pytest.raises(WeightsError, match="is not a complete"):
        load_tensors(tmp_path)


def test_json_comes_back_as_it_was(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"b": [1, None], "a": "ä"})
    assert read_json(path) == {"b": [1, None], "a": "ä"}
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"1", b"[" * 100_000])
def test_what_is_not_a_json_object_is_refused(content, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json"):
        read_json(path)


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_sha256_is_that_of_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "HASH_CHUNK_BYTES", 7)
    path = tmp_path / "a"
    path.write_bytes(bytes(range(100)))
    assert sha256_file(path) == hashlib.sha256(bytes(range(100))).hexdigest()
