"""Model folders: whole, strict and bit-exact."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylefeatureeditor.cli.main import main
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights import checkpoint
from stylefeatureeditor.weights.checkpoint import assign_state, load_config, load_model, save_model
from stylefeatureeditor.weights.direction_files import load_own_directions
from stylefeatureeditor.weights.storage import load_tensors
from tiny import tiny_cars_model, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def folder(model, tmp_path):
    save_model(model, tmp_path, header={"source": "a test"})
    return tmp_path


def rewrite(path, change):
    """Change the tensors of a safetensors file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("make", [tiny_model, tiny_cars_model])
def test_a_saved_model_comes_back_bit_for_bit(make, tmp_path):
    model = make()
    save_model(model, tmp_path / "new" / "folder")
    again = load_model(tmp_path / "new" / "folder")
    assert again.config == model.config
    expected = model.state_dict()
    for key, value in again.state_dict().items():
        assert torch.equal(value, expected[key]), key
    output = again.inverter(tiny_photos(), again.generator, 3)
    assert torch.equal(output.features, model.inverter(tiny_photos(), model.generator, 3).features)
    assert not any(module.training for module in again.modules())
    assert not any(weight.requires_grad for weight in again.parameters())


def test_a_folder_has_one_file_per_network_and_says_where_it_came_from(folder):
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.json",
        "e4e.safetensors",
        "feature_editor.safetensors",
        "generator.safetensors",
        "inverter.safetensors",
    ]
    for file in folder.glob("*.safetensors"):
        assert load_tensors(file)[1] == {"source": "a test"}


def test_half_precision_on_disk_is_single_in_memory(model, tmp_path):
    save_model(model, tmp_path, float_dtype=torch.float16)
    assert load_file(tmp_path / "generator.safetensors")["latent_avg"].dtype == torch.float16
    again = load_model(tmp_path)
    for key, value in model.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(again.state_dict()[key], expected), key
        assert again.state_dict()[key].dtype == value.dtype


def test_config_json_is_written_last(model, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("stylefeatureeditor.weights.checkpoint.write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        save_model(model, tmp_path)
    with pytest.raises(WeightsError, match="not a model folder"):
        load_model(tmp_path)


def test_an_interrupted_save_keeps_the_older_model_and_mixes_nothing(folder, monkeypatch):
    older = load_model(folder).state_dict()
    real, saved = checkpoint.save_tensors, []

    def fail(path, *rest: object) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        real(path, *rest)

    monkeypatch.setattr(checkpoint, "save_tensors", fail)
    with pytest.raises(KeyboardInterrupt):
        save_model(tiny_model(name="newer"), folder)
    assert saved
    now = load_model(folder).state_dict()
    assert all(torch.equal(now[key], older[key]) for key in older)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_made_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot be made"):
        save_model(model, tmp_path / "file" / "folder")


@pytest.mark.parametrize("name", ["generator", "e4e", "inverter", "feature_editor"])
def test_a_missing_file_is_an_error(folder, name):
    (folder / f"{name}.safetensors").unlink()
    with pytest.raises(WeightsError, match=f"{name}.safetensors does not exist"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda t: t.pop("layers.3.noise"),
            r"1 tensors are missing and 0 unknown.*layers\.3\.noise",
        ),
        (lambda t: t.pop("latent_avg"), "latent_avg"),
        (lambda t: t.update(extra=torch.zeros(1)), r"0 tensors are missing and 1 unknown.*extra"),
        (
            lambda t: t.update({"layers.0.bias": torch.zeros(5)}),
            r"layers\.0\.bias should be \(16,\), got \(5,\)",
        ),
        (
            lambda t: t.update({"layers.0.bias": torch.zeros(16, dtype=torch.int32)}),
            r"layers\.0\.bias should hold floats, got torch.int32",
        ),
    ],
)
def test_a_tensor_too_few_too_many_or_of_another_kind_is_an_error(folder, change, sentence):
    rewrite(folder / "generator.safetensors", change)
    with pytest.raises(WeightsError, match=sentence):
        load_model(folder)


@pytest.mark.parametrize("bytes_kept", [0, 100, -1])
def test_a_truncated_file_is_an_error(folder, bytes_kept):
    path = folder / "inverter.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_kept])
    with pytest.raises(WeightsError, match="not a complete"):
        load_model(folder)


def edited(folder, change):
    """Change config.json."""
    content = json.loads((folder / "config.json").read_text())
    change(content)
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(format=2), "expected format 1, got 2"),
        (lambda c: c.pop("format"), "expected format 1, got None"),
        (lambda c: c.pop("model"), "config.json must be an object, got NoneType"),
        (lambda c: c["model"].update(later=1), "unknown field 'later'.*newer version"),
        (lambda c: c["model"]["generator"].update(later=1), "config.json.generator.*newer"),
        (lambda c: c["model"].update(feature_layer="3"), "feature_layer must be int"),
        (lambda c: c["model"].update(feature_layer=99), r"outside 1\.\.7"),
        (lambda c: c["model"]["generator"].update(size=64), "64 px generator has 10 styles"),
    ],
)
def test_a_foreign_or_newer_config_is_refused(folder, change, sentence):
    with pytest.raises(WeightsError, match=sentence):
        load_config(edited(folder, change))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1', "\0", "[" * 100_000])
def test_a_damaged_config_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_model(folder)


def test_a_config_that_fits_other_weights_is_refused(folder):
    """Sizes that agree with each other, but not with the files."""
    edited(folder, lambda c: c["model"]["generator"].update(mapping_layers=3))
    with pytest.raises(WeightsError, match=r"generator.safetensors: 2 tensors are missing"):
        load_model(folder)


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(WeightsError, match=r"it has no config\.json; `sfe models convert`"):
        load_model(tmp_path)


def test_weights_on_disk_are_not_changed_by_their_model(folder):
    """Tensors of a load are mapped from the file."""
    before = (folder / "generator.safetensors").read_bytes()
    load_model(folder).generator.latent_avg.add_(1)
    assert (folder / "generator.safetensors").read_bytes() == before


def test_strides_of_a_source_do_not_matter(model):
    state = {
        key: value.t().contiguous().t() if value.ndim == 2 else value
        for key, value in model.generator.state_dict().items()
    }
    other = tiny_model(name="other").generator
    assign_state(other, state, "test")
    codes = model.inverter(tiny_photos(), model.generator, 3).codes
    torch.testing.assert_close(other.synthesize(codes), model.generator.synthesize(codes))


@pytest.mark.parametrize("name", ["config.json", "e4e.safetensors", ".saved"])
def test_opening_a_folder_follows_no_link_out_of_it_and_changes_nothing(folder, name):
    outside = folder.parent / f"{folder.name}-documents"
    outside.mkdir()
    if name == ".saved":
        (outside / "letter.txt").write_text("mine")
        (folder / name).symlink_to(outside)
        load_model(folder)
        load_own_directions(folder)
        assert main(["models", "info", str(folder)]) == 0
        assert (outside / "letter.txt").read_text() == "mine"
        assert not (folder / "letter.txt").exists()
    else:
        (folder / name).replace(outside / name)
        (folder / name).symlink_to(outside / name)
        with pytest.raises(WeightsError, match="is a link that leaves its folder"):
            load_model(folder)


def test_opening_a_folder_whose_save_was_cut_reads_the_newer_model_and_changes_nothing(
    folder, tmp_path
):
    (folder / ".saved").mkdir()
    newer = tiny_model(name="newer")
    save_model(newer, tmp_path / "other")
    for file in (tmp_path / "other").iterdir():
        file.replace(folder / ".saved" / file.name)
    (tmp_path / "other").rmdir()
    before = sorted(folder.rglob("*"))
    assert torch.equal(load_model(folder).generator.latent_avg, newer.generator.latent_avg)
    assert sorted(folder.rglob("*")) == before
