"""A model's way to the Hugging Face Hub and back, by huggingface_hub against a server of ours."""

import builtins

import pytest
import torch

from hub_server import serving
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DependencyError, DownloadError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.weights import hub
from stylefeatureeditor.weights.local_models import find_model
from tiny import tiny_editor

NAME = "somebody/tiny-faces"
pytest.importorskip("huggingface_hub")


@pytest.fixture
def server(monkeypatch, tmp_path):
    from huggingface_hub import constants

    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        hub.pull.cache_clear()
        yield server
        hub.pull.cache_clear()


def _state(editor):
    return [tensor for _, tensor in sorted(editor.method.state_dict().items())]


def test_a_model_comes_back_as_it_went(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor = tiny_editor()
    server.repositories[NAME] = {"network.safetensors": b"of an older model", "notes.txt": b"kept"}
    address = editor.push_to_hub(
        NAME,
        token="hf_secret",
        license="mit",
        base_model="somebody/larger",
        measured={"SFE": {"lpips": 0.0196, "ssim": 0.93}, "e4e": {"lpips": 0.25}},
    )
    files = server.repositories[NAME]
    assert address.startswith(f"{server.url}/{NAME}/commit/")
    assert {"config.json", "generator.safetensors", "README.md", "notes.txt"} <= set(files)
    assert "network.safetensors" not in files
    assert ("POST", "/api/repos/create", "Bearer hf_secret") in server.asked
    card = files["README.md"].decode()
    fields = ("library_name: stylefeatureeditor", "pipeline_tag: image-to-image", "license: mit")
    assert all(field in card for field in (*fields, "base_model: somebody/larger"))
    assert "| SFE | 0.0196 | 0.93 |\n| e4e | 0.25 |  |" in card

    files["model.pkl"] = b"never asked for"
    server.asked.clear()
    again = Editor.from_pretrained(NAME, device="cpu")
    fetched = [path for _, path, _ in server.asked if "/resolve/" in path]
    assert fetched
    assert all(path.endswith((".safetensors", ".json")) for path in fetched)
    for before, after in zip(*(_state(each) for each in (editor, again)), strict=True):
        assert torch.equal(before, after)
    assert [entry.name for entry in again.directions.entries] == [
        entry.name for entry in editor.directions.entries
    ]

    hub.pull.cache_clear()
    server.asked.clear()
    assert Editor.from_pretrained(NAME, device="cpu", local_files_only=True).size == editor.size
    assert not server.asked
    assert find_model(NAME).is_relative_to(tmp_path / "cache")


def test_a_revision_and_a_token_are_passed_on(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot_download(repository, **options):
        asked.append((repository, options["revision"], options["token"], options["cache_dir"]))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub.pull.cache_clear()
    hub.pull("a/b@v1.0")
    hub.pull("a/b", revision="main", token="t", cache_dir=tmp_path)
    assert asked == [("a/b", "v1.0", None, None), ("a/b", "main", "t", tmp_path)]
    with pytest.raises(WeightsError, match="not a model folder"):
        find_model("a/b@v1.0")  # nothing of ours is in it


def test_what_the_hub_does_not_have_is_said_in_a_sentence(server, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DownloadError, match="no folder nobody/nothing here") as refused:
        find_model("nobody/nothing")
    assert "\n" not in str(refused.value)
    server.repositories["a/b"] = {}
    monkeypatch.setattr(hub, "FILES", ["*.json"])
    with pytest.raises(DownloadError, match="cannot be fetched"):
        hub.pull("a/b", local_files_only=True)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    hub.pull.cache_clear()
    with pytest.raises(DependencyError, match=r"stylefeatureeditor\[hub\]"):
        find_model("a/b")


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert not hub.names_repository("runs/model")
    assert hub.names_repository("org/model@v1")
    for path in ("faces", "/org/model", "./model", "../model", "a/b/c", tmp_path):
        assert not hub.names_repository(path)


def test_a_snapshot_may_lead_into_its_cache_and_nowhere_else(tmp_path):
    folder = tmp_path / "models--a--b" / "snapshots" / "0f"
    for place in (folder, tmp_path / "models--a--b" / "blobs"):
        place.mkdir(parents=True)
    for target in ("models--a--b/blobs/1", "secret"):
        (tmp_path / target).write_text("x")
    (folder / "config.json").symlink_to("../../blobs/1")
    (folder / "out.json").symlink_to(tmp_path / "secret")
    assert member(folder, "config.json").read_text() == "x"
    with pytest.raises(WeightsError, match="leaves its folder"):
        member(folder, "out.json")
