"""The nodes for ComfyUI, and the workflow beside them, as ComfyUI would run it.

ComfyUI is not on the package index, so the nodes meet a written copy of its interface; where
`comfy_api` can be imported, they meet that.
"""

import asyncio
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

import comfy_interface
from stylefeatureeditor import Editor
from stylefeatureeditor.editing.catalog import Catalog
from stylefeatureeditor.errors import FaceError, MaskError
from stylefeatureeditor.weights import local_models
from stylefeatureeditor.weights.direction_files import load_own_directions
from tiny import tiny_directions, tiny_editor

PACK = Path(__file__).parents[1] / "comfyui"
# ComfyUI's own nodes that the workflow needs: their inputs, and what they give.
FOREIGN = {
    "LoadImage": ({"image"}, ["IMAGE", "MASK"]),
    "SaveImage": ({"images", "filename_prefix"}, []),
}


@pytest.fixture(scope="module")
def pack():
    with pytest.MonkeyPatch.context() as patched:
        if importlib.util.find_spec("comfy_api") is None:
            for name, module in comfy_interface.modules().items():
                patched.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location("sfe_nodes", PACK / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def nodes(pack):
    found = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    return {node.GET_SCHEMA().node_id: node for node in found}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where pulled models lie: one of 32 px, called faces."""
    folder = tmp_path_factory.mktemp("cache")
    tiny_editor().save_pretrained(folder / "models" / "faces")
    return folder


@pytest.fixture(autouse=True)
def model(cache, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(cache))
    return "faces"


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(astronaut()[:240, 95:355])


def to_image(*photos: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(photos)).float() / 255


def give(node, **inputs):
    return node.execute(**inputs).args


def ranges(nodes) -> dict[str, tuple[float, float]]:
    (combo,) = (
        one for one in nodes["SFEDirection"].define_schema().inputs if one.id == "direction"
    )
    (pairs,) = {len(option.inputs) for option in combo.options}
    assert pairs == 1
    return {option.key: (option.inputs[0].min, option.inputs[0].max) for option in combo.options}


def run(workflow, nodes, photo):
    """Check each node, widget and link of a workflow, run it, and return what is saved."""
    made, saved = {}, []

    def value(given):
        return made[given[0]][given[1]] if isinstance(given, list) else given

    for number, node in workflow.items():  # written in the order in which they can run
        name, inputs = node["class_type"], node["inputs"]
        if name in FOREIGN:
            assert set(inputs) == FOREIGN[name][0]
            if name == "SaveImage":
                saved.append(value(inputs["images"]))
            made[number] = (to_image(photo), torch.zeros(1, 64, 64))
            continue
        known = {one.id: one for one in nodes[name].define_schema().inputs}
        assert {word.split(".")[0] for word in inputs} <= set(known)
        assert {word for word, one in known.items() if not one.optional} <= set(inputs)
        words = {}
        for word, given in inputs.items():
            first, _, second = word.partition(".")
            if isinstance(given, list):
                assert kind_of(nodes, workflow, given) == known[first].kind
            if second:
                words[first][second] = value(given)
            elif hasattr(known[first], "options") and name == "SFEDirection":
                words[first] = {first: given}
            else:
                assert given in getattr(known[first], "options", [given])
                words[first] = value(given)
        made[number] = nodes[name].execute(**words).args
    return saved


def kind_of(nodes, workflow, link) -> str:
    """The type of what a link carries."""
    name = workflow[link[0]]["class_type"]
    if name in FOREIGN:
        return FOREIGN[name][1][link[1]]
    return nodes[name].define_schema().outputs[link[1]].kind


def read_workflow():
    return json.loads((PACK / "workflow.json").read_text("utf-8"))


def test_the_workflow_gives_what_the_editor_gives(nodes, photo):
    (saved,) = run(read_workflow(), nodes, photo)
    editor = Editor.from_pretrained("faces")
    wanted = editor.edit(photo, {"smile": 2.0, "age": -1.0}, mask="face").photo
    assert torch.equal(saved, to_image(np.asarray(wanted)))
    assert not torch.equal(saved, to_image(photo))


def test_a_batch_is_edited_image_by_image_and_pasted_back(nodes, model, photo):
    (opened,) = give(nodes["SFELoad"], model=model, device="cpu")
    image = to_image(photo, photo[:, ::-1])
    (known,) = give(nodes["SFEInvert"], model=opened, image=image, face="1", aligned=False)
    mask = torch.zeros(1, *photo.shape[:2])
    mask[:, 60:140, 90:160] = 1
    (made,) = give(
        nodes["SFEEdit"], inversions=known, region="none", directions={"smile": 3.0}, mask=mask
    )
    assert made.shape == image.shape
    assert torch.equal(made[:, mask[0] == 0], image[:, mask[0] == 0])
    for one, before in zip(made, (photo, photo[:, ::-1]), strict=True):
        wanted = opened.edit(before, {"smile": 3.0}, mask=mask[0].numpy()).photo
        assert torch.equal(one, to_image(np.asarray(wanted))[0])
    with pytest.raises(MaskError, match="2 images need as many masks, or 1; there are 3"):
        give(nodes["SFEEdit"], inversions=known, region="none", mask=mask.expand(3, -1, -1))


def test_directions_are_chained_and_added_up(nodes):
    (first,) = give(nodes["SFEDirection"], direction={"direction": "smile", "strength": 2.0})
    (second,) = give(
        nodes["SFEDirection"], direction={"direction": "age", "strength": 1.0}, before=first
    )
    (third,) = give(
        nodes["SFEDirection"], direction={"direction": "smile", "strength": -0.5}, before=second
    )
    assert (first, third) == ({"smile": 2.0}, {"smile": 1.5, "age": 1.0})


def test_sliders_have_the_ranges_of_the_model_and_the_workflow_keeps_to_them(
    nodes, monkeypatch, tmp_path
):
    builtin = PACK.parent / "src" / "stylefeatureeditor" / "builtin"
    monkeypatch.setattr(local_models, "builtin_folder", lambda: builtin)
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    known = load_own_directions(builtin / "faces").entries
    assert ranges(nodes) == {entry.name: entry.useful_range for entry in known}
    chosen = [node["inputs"] for node in read_workflow().values()]
    chosen = [words for words in chosen if "direction" in words]
    assert len(chosen) == 2
    for words in chosen:
        low, high = ranges(nodes)[words["direction"]]
        assert low <= words["direction.strength"] <= high


def test_of_several_models_the_widest_range_counts_and_a_broken_one_is_told(
    pack, monkeypatch, tmp_path, caplog
):
    names = ("smile", "age")
    for folder, low in (("one", -1.0), ("two", -9.0)):
        entries = [replace(tiny_directions().find(name), useful_range=(low, 4.0)) for name in names]
        tiny_editor(Catalog(tuple(entries))).save_pretrained(tmp_path / "models" / folder)
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "config.json").write_text("{")
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    assert pack.known_ranges() == dict.fromkeys(names, (-9.0, 4.0))
    assert "the directions of broken cannot be read" in caplog.text


def test_without_directions_the_photo_is_redrawn_and_too_far_is_told(nodes, model, caplog):
    aligned = np.asarray(Image.fromarray(astronaut()[:200, 120:320]).resize((32, 32)))
    (opened,) = give(nodes["SFELoad"], model=model, device="cpu")
    (known,) = give(
        nodes["SFEInvert"], model=opened, image=to_image(aligned), face="largest", aligned=True
    )
    (made,) = give(nodes["SFEEdit"], inversions=known, region="none")
    wanted = opened.edit(aligned, {}, aligned=True).photo
    assert torch.equal(made, to_image(np.asarray(wanted)))
    give(nodes["SFEEdit"], inversions=known, region="none", directions={"smile": 9.0})
    assert "smile=9 is outside the useful range" in caplog.text


@pytest.mark.parametrize(
    ("face", "sentence"), [("9", "face 9 was asked for"), ("left", "chosen by")]
)
def test_a_face_that_is_not_there_is_told(nodes, model, photo, face, sentence):
    (opened,) = give(nodes["SFELoad"], model=model, device="cpu")
    with pytest.raises(FaceError, match=sentence):
        give(nodes["SFEInvert"], model=opened, image=to_image(photo), face=face, aligned=False)
