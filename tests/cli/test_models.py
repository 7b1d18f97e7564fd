from __future__ import annotations

import errno
import hashlib
import http.server
import json
import threading

import pytest
import torch

from faulty import visible
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.methods import converting
from stylefeatureeditor.methods.converting import convert_to_folder, copy_directions
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.convert import ReleasedFiles
from stylefeatureeditor.weights.local_models import files_folder
from tiny import WIDTH, tiny_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(monkeypatch):
    """Serve "vector" and the three files of "ffhq" from this machine, and count the requests."""
    served = {
        "vector.pt": b"a vector",
        "sfe.pt": b"editor",
        "generator.pt": b"generator",
        "e4e.pt": b"encoder",
    }
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path[1:])
            content = served[self.path[1:]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"

    def source(name, file, feeds):
        return sources.Source(
            name=name,
            file_name=file,
            urls=(address + file,),
            size=len(served[file]),
            sha256=hashlib.sha256(served[file]).hexdigest(),
            licence="MIT",
            what="a file",
            feeds=feeds,
        )

    known = [
        source("vector", "vector.pt", "directions"),
        source("sfe-editor", "sfe.pt", "inverter"),
        source("stylegan2-ffhq", "generator.pt", "generator"),
        source("e4e-ffhq", "e4e.pt", "e4e"),
    ]
    monkeypatch.setattr(sources, "SOURCES", {item.name: item for item in known})
    monkeypatch.setattr(sources, "GROUPS", {"ffhq": tuple(item.name for item in known)})
    monkeypatch.setattr(converting, "convert_released", lambda *_args, **_options: tiny_model())
    yield requests
    server.shutdown()
    server.server_close()


class TestList:
    def test_names_models_files_sizes_and_licences(self, sfe):
        ran = sfe("models", "list")
        assert ran.code == 0
        assert "On this machine\n  none" in ran.out
        assert "NVIDIA Source Code License (non-commercial)" in ran.out
        assert "53.3 MB" in ran.out

    def test_is_data_on_request(self, sfe, cache):
        (cache / "models" / "mine").mkdir(parents=True)
        (cache / "models" / "mine" / "config.json").write_text("{}")
        content = json.loads(sfe("models", "list", "--json").out)
        assert content["local"] == {"mine": str(cache / "models" / "mine")}
        assert {row["name"] for row in content["published"]} == set(sources.SOURCES)


class TestPull:
    def test_shows_what_comes_before_it_comes(self, sfe, cache, published):
        ran = sfe("models", "pull", "vector")
        assert ran.code == 0
        lines = [line.strip() for line in ran.out.splitlines()]
        assert lines[1].startswith("from     http://127.0.0.1:")
        assert lines[2:4] == ["size     8 B", "licence  MIT"]
        assert lines[4] == f"SHA-256  {hashlib.sha256(b'a vector').hexdigest()}"
        assert (cache / "downloads" / "vector.pt").read_bytes() == b"a vector"
        assert published == ["vector.pt"]

    @pytest.mark.usefixtures("published")
    def test_leaves_a_file_where_its_readers_look(self, sfe):
        assert sfe("models", "pull", "vector").code == 0
        assert (files_folder() / "vector.pt").is_file()

    def test_fetches_nothing_twice(self, sfe, published):
        for _ in range(2):
            assert sfe("models", "pull", "vector").code == 0
        assert published == ["vector.pt"]

    def test_converts_ffhq_once(self, sfe, cache, published):
        assert "ffhq is ready" in sfe("models", "pull", "ffhq").out
        assert Editor.from_pretrained("ffhq", device="cpu").size == 32
        assert (cache / "models" / "ffhq" / "directions" / "vector.pt").is_file()
        assert "here already" in sfe("models", "pull", "ffhq").out
        assert len(published) == 4

    @pytest.mark.usefixtures("published")
    def test_gives_later_direction_files_to_the_model(self, sfe, cache):
        sfe("models", "pull", "ffhq")
        placed = cache / "models" / "ffhq" / "directions" / "vector.pt"
        placed.unlink()
        sfe("models", "pull", "vector")
        assert placed.is_file()

    @pytest.mark.parametrize(("answer", "fetched"), [("y", True), ("", False), ("no", False)])
    def test_asks_on_a_terminal(self, answer, fetched, sfe, published, monkeypatch):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _question: answer)
        ran = sfe("models", "pull", "vector")
        assert ran.code == 0
        assert bool(published) == fetched

    def test_does_not_ask_those_who_said_yes(self, sfe, published, monkeypatch):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        assert sfe("models", "pull", "vector", "--yes").code == 0
        assert published == ["vector.pt"]

    @pytest.mark.usefixtures("published")
    def test_offline_names_the_address_and_the_place(self, sfe, cache, monkeypatch):
        lost = sources.SOURCES["vector"]
        address = "http://127.0.0.1:9/vector.pt"  # nobody answers there
        monkeypatch.setitem(
            sources.SOURCES, "vector", type(lost)(**{**vars(lost), "urls": (address,)})
        )
        monkeypatch.setattr("stylefeatureeditor.weights.download.BACKOFF_SECONDS", ())
        ran = sfe("models", "pull", "vector")
        assert ran.code == 2
        assert ran.err.count("\n") == 1
        assert f"download {address} by hand and put it at {cache / 'downloads'}" in ran.err


class TestConvert:
    @pytest.fixture
    def files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(converting, "convert_released", lambda *_args, **_options: tiny_model())
        paths = [tmp_path / name for name in ("a.pt", "b.pt", "c.pt")]
        for path in paths:
            path.write_text(path.name)
        return ReleasedFiles(*paths)

    def test_writes_where_the_weights_came_from_into_every_file(self, files, tmp_path, sfe):
        folder = tmp_path / "made"
        words = ("--sfe", files.sfe, "--generator", files.generator, "-o", folder)
        ran = sfe("models", "convert", *words)
        assert (ran.code, ran.out) == (0, f"{folder}\n")
        origin = json.loads(sfe("models", "info", folder, "--json").out)["converted_from"]
        assert [(row["role"], row["file"]) for row in origin] == [
            ("sfe", "a.pt"),
            ("generator", "b.pt"),
        ]
        assert origin[0]["sha256"] == hashlib.sha256(b"a.pt").hexdigest()

    def test_copies_direction_files_of_nested_folders(self, files, tmp_path, sfe):
        """The release's editings/ has them beside code, a folder for each kind."""
        directions, folder = tmp_path / "editings", tmp_path / "made"
        for name in (
            "latent_editor.py",
            "bound/Smiling_boundary.npy",
            "bound/README.txt",
            "ganspace_pca/ffhq_pca.pt",
            "styleclip/global_mapper_data/S_mean_std",
            "styleclip/global_mapper_data/templates.txt",
            "styleclip/global_mapper_data/delta_i_c.npy",
        ):
            (directions / name).parent.mkdir(parents=True, exist_ok=True)
            (directions / name).write_text(name)
        words = ("--sfe", files.sfe, "-o", folder, "--directions", directions)
        assert sfe("models", "convert", *words).code == 0
        copied = {path.name: path.read_text() for path in (folder / "directions").iterdir()}
        assert copied == {
            "Smiling_boundary.npy": "bound/Smiling_boundary.npy",
            "ffhq_pca.pt": "ganspace_pca/ffhq_pca.pt",
            "S_mean_std": "styleclip/global_mapper_data/S_mean_std",
            "templates.txt": "styleclip/global_mapper_data/templates.txt",
            "delta_i_c.npy": "styleclip/global_mapper_data/delta_i_c.npy",
        }

    @pytest.mark.parametrize(
        ("names", "sentence"),
        [(("a/smile.pt", "b/smile.pt"), "have one name"), (("a/b.py",), "holds no direction file")],
    )
    def test_refuses_direction_files_that_clash_or_are_none(
        self, names, sentence, files, tmp_path, sfe
    ):
        for name in names:
            (tmp_path / "editings" / name).parent.mkdir(parents=True)
            (tmp_path / "editings" / name).write_text(name)
        words = ("--sfe", files.sfe, "-o", tmp_path / "made", "--directions", tmp_path / "editings")
        ran = sfe("models", "convert", *words)
        assert (ran.code, sentence in ran.err) == (2, True)
        assert not (tmp_path / "made").exists()

    def test_replaces_a_model_only_when_told(self, files, tmp_path, sfe):
        words = ("models", "convert", "--sfe", files.sfe, "-o", tmp_path / "made")
        assert [sfe(*words).code, sfe(*words).code, sfe(*words, "--overwrite").code] == [0, 2, 0]

    def test_half_stores_float16(self, files, tmp_path):
        convert_to_folder(files, tmp_path / "half", name="x", catalog=None, half=True)
        convert_to_folder(files, tmp_path / "full", name="x", catalog=None)
        half, full = (
            (tmp_path / name / "e4e.safetensors").stat().st_size for name in ("half", "full")
        )
        assert half < 0.7 * full

    def test_a_failure_leaves_no_model(self, files, tmp_path, monkeypatch):
        def full(*_args, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr("stylefeatureeditor.weights.checkpoint.write_json", full)
        with pytest.raises(KeyboardInterrupt):
            convert_to_folder(files, tmp_path / "made", name="x", catalog=None)
        assert not (tmp_path / "made").exists()

    def test_a_failure_leaves_the_old_model(self, files, tmp_path, sfe, monkeypatch):
        words = ("models", "convert", "--sfe", files.sfe, "-o", tmp_path / "made")
        assert sfe(*words).code == 0
        before = visible(tmp_path / "made")

        def full(*_args, **_options):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(converting, "convert_released", lambda *_, **__: tiny_model(name="b"))
        monkeypatch.setattr("stylefeatureeditor.files.finish_moves", full)
        ran = sfe(*words, "--overwrite")
        assert (ran.code, "No space left on device" in ran.err) == (2, True)
        assert visible(tmp_path / "made") == before

    @pytest.mark.parametrize("words", [("--sfe",), ("--e4e",), ("--method", "psp"), ()])
    def test_a_refused_file_leaves_nothing(self, words, tmp_path, sfe):
        (tmp_path / "x.pt").write_bytes(b"no checkpoint")
        words = words or ("--method", "restyle")
        made = tmp_path / "a" / "made"
        ran = sfe("models", "convert", *words, tmp_path / "x.pt", "-o", made)
        assert ran.code == 2
        assert not made.parent.exists()


class TestInfo:
    def test_counts_parameters_and_names_hashes(self, model, sfe):
        content = json.loads(sfe("models", "info", model, "--json").out)
        tiny = dict(tiny_model().named_children())
        assert set(content["networks"]) == {
            name for name in tiny if (model / f"{name}.safetensors").exists()
        }
        for name, row in content["networks"].items():
            data = (model / f"{name}.safetensors").read_bytes()
            assert row["parameters"] == sum(p.numel() for p in tiny[name].parameters())
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
            assert row["stored_as"] == "float32"
        assert content["config"]["generator"]["style_dim"] == WIDTH
        assert content["own_directions"] == ["smile", "age"]

    def test_is_readable(self, model, sfe):
        out = sfe("models", "info", model).out
        assert "crop                  32 x 32 pixels" in out
        assert f"{sum(p.numel() for p in tiny_model().e4e.parameters()):,} parameters" in out


def test_direction_files_are_copied_whole(tmp_path):
    torch.save(torch.ones(3), tmp_path / "a.pt")
    copy_directions([tmp_path / "a.pt", tmp_path / "missing.pt"], tmp_path / "model")
    copied = list((tmp_path / "model" / "directions").iterdir())
    assert [path.name for path in copied] == ["a.pt"]
    assert copied[0].read_bytes() == (tmp_path / "a.pt").read_bytes()
