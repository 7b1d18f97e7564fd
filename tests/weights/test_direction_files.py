"""Direction files: .pt, .npy and .safetensors; a model's own and published ones."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from seeded import draw
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.weights.direction_files import (
    PUBLISHED,
    TABLE,
    TENSORS,
    copy_published_files,
    load_own_directions,
    read_direction_file,
    save_own_directions,
)
from tiny import tiny_directions

VECTOR = draw("direction_files", (1, 12))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_a_torch_file_gives_its_tensor(tmp_path, suffix):
    path = tmp_path / f"age{suffix}"
    torch.save(VECTOR, path)
    assert torch.equal(read_direction_file(path), VECTOR)


def test_the_tables_of_a_mapper_and_of_pca_come_as_tables(tmp_path):
    path = tmp_path / "mapper.pt"
    torch.save({"state_dict": {"mapper.weight": VECTOR}, "opts": {"n": 1}}, path)
    assert list(read_direction_file(path)) == ["mapper.weight"]
    torch.save({"comp": VECTOR, "mean": VECTOR, "std": VECTOR}, path)
    assert sorted(read_direction_file(path)) == ["comp", "mean", "std"]


def test_an_array_and_a_safetensors_file(tmp_path):
    np.save(tmp_path / "boundary.npy", VECTOR.numpy())
    assert np.array_equal(read_direction_file(tmp_path / "boundary.npy"), VECTOR.numpy())
    save_file({"vector": VECTOR}, tmp_path / "own.safetensors")
    content = read_direction_file(tmp_path / "own.safetensors")
    assert torch.equal(content["vector"], VECTOR)


@pytest.mark.parametrize("name", ["age.txt", "age", "age.pkl", "age.npz"])
def test_another_suffix_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"1 2 3")
    with pytest.raises(WeightsError, match=r"read from \.pt, \.npy and \.safetensors files"):
        read_direction_file(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".safetensors"])
def test_a_missing_or_damaged_file_is_an_error(tmp_path, suffix):
    with pytest.raises(WeightsError):
        read_direction_file(tmp_path / f"none{suffix}")
    (tmp_path / f"bad{suffix}").write_bytes(b"not a direction")
    with pytest.raises(WeightsError):
        read_direction_file(tmp_path / f"bad{suffix}")


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(WeightsError, match="not a complete"):
        read_direction_file(tmp_path / "objects.npy")


def test_own_directions_come_back(tmp_path):
    pca = CatalogEntry(
        name="pose",
        kind="pca",
        useful_range=(-2.0, 2.0),
        layers=(0, 3),
        tensors={"component": VECTOR[0], "mean": VECTOR[0], "std": torch.tensor(0.5)},
    )
    catalog = tiny_directions().with_entry(pca)
    save_own_directions(catalog, tmp_path)
    again = load_own_directions(tmp_path)
    assert again.to_table() == catalog.to_table()
    own, loaded = catalog.tensors(), again.tensors()
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[key], loaded[key]) for key in own)
    assert load_own_directions(tmp_path / "elsewhere") == Catalog()


def test_a_table_without_its_tensors_is_an_error(tmp_path):
    save_own_directions(tiny_directions(), tmp_path)
    (tmp_path / TENSORS).unlink()
    with pytest.raises(DirectionError, match="neither a file nor tensors"):
        load_own_directions(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"directions": 3}', '{"directions": [3]}'])
def test_a_damaged_table_is_an_error(tmp_path, text):
    (tmp_path / TABLE).write_text(text)
    with pytest.raises((DirectionError, WeightsError)):
        load_own_directions(tmp_path)


def test_published_files_are_copied_once_and_never_written_over(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    copy_published_files(source, target)  # there are none
    assert not (target / PUBLISHED).exists()
    (source / PUBLISHED).mkdir()
    (source / PUBLISHED / "age.pt").write_bytes(b"age")
    (source / PUBLISHED / "smile.pt").write_bytes(b"smile")
    (target / PUBLISHED).mkdir()
    (target / PUBLISHED / "smile.pt").write_bytes(b"other")
    copy_published_files(source, target)
    copy_published_files(source, source)
    found = {file.name: file.read_bytes() for file in (target / PUBLISHED).iterdir()}
    assert found == {"age.pt": b"age", "smile.pt": b"other"}
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / PUBLISHED).write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match="cannot be written"):
        copy_published_files(source, blocked)
