"""The catalogue of published directions, and the tables that models bring."""

import json
import math
import re

import numpy as np
import pytest
import torch

from seeded import seeded_input
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry, load_catalog, range_warning
from stylefeatureeditor.editing.direction import LinearDirection, PcaDirection
from stylefeatureeditor.editing.import_file import entry_for
from stylefeatureeditor.editing.styleclip import StyleClipMapper, StyleMapper
from stylefeatureeditor.errors import DirectionError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.records import Codes

LAYOUT = GeneratorConfig(size=1024).style_layout()
TINY = GeneratorConfig(size=16, style_dim=4, channel_base=64).style_layout()  # N = 6
ROW = {"name": "own", "kind": "linear", "useful_range": [-1, 1], "file": "own.pt"}

PUBLISHED = {
    "ffhq": [
        *("age", "smile", "rotation", "fs_glasses", "fs_smiling", "fs_makeup"),
        *("eye_openness", "trimmed_beard", "lipstick", "face_roundness", "nose_length"),
        *("eyebrow_thickness", "head_angle_up", "displeased"),
        *("black hair", "blond hair", "grey hair", "wavy hair", "bangs", "receding hairline"),
        *("smiling", "sslipstick", "sideburns", "goatee", "earrings", "glasses", "wear suit"),
        *("gender", "afro", "angry", "bobcut", "bowlcut", "curly_hair", "mohawk", "surprised"),
        *("beyonce", "hilary_clinton", "depp", "purple_hair", "taylor_swift", "trump"),
        "zuckerberg",
    ],
    "cars": [
        *("pose_1", "pose_2", "cube", "color", "grass", "front", "headlights", "grill", "trees"),
        *("grass_ss", "sky", "hubcap", "car color", "logo", "wheel angle"),
    ],
}


@pytest.mark.parametrize("family", ["ffhq", "cars"])
def test_every_published_name_is_found(family):
    catalog = load_catalog(family)
    found = {catalog.find(name).name for name in PUBLISHED[family]}
    assert found == {entry.name for entry in catalog.entries}


@pytest.mark.parametrize("family", ["ffhq", "cars"])
def test_every_entry_speaks_to_people_and_types_on_a_command_line(family):
    for entry in load_catalog(family).entries:
        assert re.fullmatch("[a-z0-9_]+", entry.name)
        assert entry.label
        assert entry.group
        assert entry.method
        assert entry.help.endswith(".")
        assert entry.useful_range[0] <= 0 < entry.useful_range[1]


def test_names_and_ranges_are_the_published_ones():
    ffhq, cars = load_catalog("ffhq"), load_catalog("cars")
    assert ffhq.find("age").useful_range == (-10, 10)
    assert ffhq.find("fs_glasses").useful_range == (-20, 30)
    assert ffhq.find("black hair").useful_range == (-7, 10)
    assert ffhq.find("blond hair").channels == ((12, 479), (12, 266))
    assert ffhq.find("trimmed_beard").layers == (7, 9)
    assert ffhq.find("afro").levels == ("coarse", "medium")
    assert ffhq.find("purple_hair").levels == ("coarse", "medium", "fine")
    assert cars.find("pose_2").component == 0
    assert ffhq.find("bangs").range_assumed
    assert not ffhq.find("age").range_assumed


def test_a_name_is_found_however_it_is_spelt():
    catalog = load_catalog("ffhq")
    for name in ("blond_hair", "Blond Hair", " blond-hair ", "BLOND HAIR"):
        assert catalog.find(name).name == "blond_hair"


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    with pytest.raises(DirectionError, match=r"unknown direction 'smlie': did you mean smile or"):
        load_catalog("ffhq").find("smlie")
    own = Catalog(tuple(load_catalog("cars").entries[:2]))
    listed = ", ".join(sorted(entry.name for entry in own.entries))
    with pytest.raises(DirectionError, match=f"'xyzzy': this model has {listed}$"):
        own.find("xyzzy")
    with pytest.raises(DirectionError, match=r"this model has (\w+, ){11}\w+ and \d+ more$"):
        load_catalog("ffhq").find("xyzzy")
    with pytest.raises(DirectionError, match="this model has none yet"):
        Catalog().find("xyzzy")
    with pytest.raises(DirectionError, match="ffhq and cars, not for 'cats'"):
        load_catalog("cats")


def test_a_strength_out_of_the_useful_range_is_a_warning():
    age = load_catalog("ffhq").find("age")
    assert range_warning(age, 10) is None
    assert range_warning(age, -10) is None
    message = range_warning(age, 12.5)
    assert message == "age=12.5 is outside the useful range -10 to 10: expect artefacts"


def test_stylespace_entries_load_without_any_file(tmp_path):
    def refuse(path):
        raise AssertionError(path)

    loaded = [
        entry.load(tmp_path / "absent", LAYOUT, refuse)
        for entry in load_catalog("ffhq").entries
        if entry.kind == "stylespace"
    ]
    assert len(loaded) == 14
    assert all(direction.offset.conv[8].shape == (1, 512) for direction in loaded)


def entry(**changes):
    return Catalog.from_table({"directions": [ROW | changes]}, {}).entries[0]


def load(content, tmp_path, **changes):
    """An entry loaded from a file of that content."""
    (tmp_path / "own.pt").touch()
    return entry(**changes).load(tmp_path, TINY, lambda _: content)


def test_a_linear_file_is_one_vector_or_one_per_style(tmp_path):
    vector = seeded_input("catalog.vector", (1, 24))
    one = load(vector[:, :4], tmp_path, scale=0.5)
    assert isinstance(one, LinearDirection)
    assert torch.equal(one.vector, vector[0, :4])
    assert one.scale == 0.5
    several = load(vector.numpy(), tmp_path, per_style=True)
    assert torch.equal(several.vector, vector.reshape(6, 4))


def test_a_pca_entry_takes_its_component(tmp_path):
    comp = seeded_input("catalog.comp", (3, 1, 4))
    table = {"comp": comp, "mean": torch.ones(1, 4), "std": torch.tensor([1.0, 2.0, 4.0])}
    pca = load(table, tmp_path, kind="pca", component=2, layers=[1, 3])
    assert isinstance(pca, PcaDirection)
    assert torch.equal(pca.component, comp[2, 0])
    assert pca.mean.shape == (4,)
    assert pca.std == 4.0
    assert pca.layers == (1, 3)


def test_a_mapper_entry_reads_a_published_checkpoint(tmp_path):
    state = {
        f"mapper.{level}_mapping.mapping.{number}.{leaf}": torch.ones(shape)
        for level in ("course", "medium")
        for number in range(1, 5)
        for leaf, shape in (("weight", (4, 4)), ("bias", (4,)))
    }
    mapper = load({"state_dict": state}, tmp_path, kind="mapper", levels=["coarse", "medium"])
    assert isinstance(mapper, StyleClipMapper)
    assert list(mapper.mapper.levels) == ["coarse", "medium"]


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        ({"a": 1}, {}, "no 'vector'"),
        ("text", {}, "expected a tensor or array of numbers, got str"),
        (np.array(["x"]), {}, "numbers, got ndarray"),
        (np.array([1.0, math.nan]), {}, "not finite"),
        (torch.zeros(1, 25), {"per_style": True}, "25 values, which 6 style vectors cannot share"),
        (torch.zeros(4), {"kind": "pca", "component": 0}, "holds no table"),
        ({"comp": torch.zeros(3, 1, 4)}, {"kind": "pca", "component": 0}, "no 'mean'"),
        (
            {"comp": torch.zeros(3, 1, 4), "mean": torch.zeros(4), "std": torch.ones(3)},
            {"kind": "pca", "component": 3},
            "components 0 to 2, not 3",
        ),
    ],
)
def test_a_file_that_holds_something_else_is_refused(content, changes, message, tmp_path):
    with pytest.raises(DirectionError, match=message):
        load(content, tmp_path, **changes)


def test_a_missing_file_is_named_with_its_place(tmp_path):
    with pytest.raises(DirectionError, match=r"'age' needs the file age.pt, .*models pull"):
        load_catalog("ffhq").find("age").load(tmp_path, LAYOUT, lambda path: path)


def own_catalog():
    vector = seeded_input("catalog.own", (6, 4))
    mapper = StyleMapper(4, ("medium",)).requires_grad_(requires_grad=False)
    pca = PcaDirection("axis", vector[0], vector[1], 0.5, layers=(0, 3))
    return Catalog(
        (
            entry_for(LinearDirection("hat", vector, 0.25, (1, 4)), (-2, 3), help_text="Hats."),
            entry_for(pca, (-4, 4), label="Axis", group="shape"),
            CatalogEntry(name="m", kind="mapper", useful_range=(0, 1), tensors=mapper.state_dict()),
            CatalogEntry(name="s", kind="stylespace", useful_range=(0, 1), channels=((2, 1),)),
        )
    )


def test_a_models_own_directions_survive_a_table_of_plain_values(tmp_path):
    catalog = own_catalog()
    table = json.loads(json.dumps(catalog.to_table()))
    again = Catalog.from_table(table, catalog.tensors())
    codes = Codes(seeded_input("catalog.codes", (1, 6, 4)))
    for before, after in zip(catalog.entries, again.entries, strict=True):
        assert before.to_row() == after.to_row()
        one, other = (
            found.load(tmp_path, TINY, pytest.fail).apply(codes, 0.5) for found in (before, after)
        )
        assert torch.equal(one.wplus, other.wplus)
        changed = one.styles is not None or not torch.equal(one.wplus, codes.wplus)
        assert changed


def test_the_package_table_survives_too():
    for family in ("ffhq", "cars"):
        table = load_catalog(family).to_table()
        assert Catalog.from_table(table, {}).to_table() == table
        assert len(table["directions"]) > 10


def test_a_direction_of_the_same_name_is_replaced_in_its_place():
    catalog = own_catalog()
    other = entry_for(LinearDirection("axis", torch.ones(4)), (-9, 9))
    replaced = catalog.with_entry(other)
    assert [item.name for item in replaced.entries] == ["hat", "axis", "m", "s"]
    assert replaced.find("axis").useful_range == (-9, 9)
    assert len(catalog.with_entry(entry(name="new")).entries) == 5
    assert list(catalog.groups()) == ["own", "shape"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("text", "must be a table of keys, got str"),
        (ROW | {"colour": 1}, "no key 'colour'"),
        (ROW | {"tensors": {}}, "no key 'tensors'"),
        ({"name": "own", "kind": "linear"}, "needs the key 'useful_range'"),
        (ROW | {"kind": "magic"}, "kind must be one of linear"),
        (ROW | {"name": "Two Words"}, "lower case letters"),
        (ROW | {"name": 3}, "malformed"),
        (ROW | {"file": ""}, "neither a file nor tensors"),
        (ROW | {"file": "../other.pt"}, "bare file name"),
        (ROW | {"file": 5}, "malformed"),
        (ROW | {"useful_range": [3, 1]}, "bad useful range"),
        (ROW | {"useful_range": 3}, "malformed"),
        (ROW | {"useful_range": ["a", "b"]}, "malformed"),
        (ROW | {"scale": "big"}, "malformed scale"),
        (ROW | {"help": 3}, "malformed label, help, group or method"),
        (ROW | {"group": ["a"]}, "malformed label, help, group or method"),
        (ROW | {"layers": [1, 2, 3]}, "malformed layers"),
        (ROW | {"layers": ["1", "2"]}, "malformed layers"),
        (ROW | {"kind": "pca"}, "needs 'component'"),
        (ROW | {"kind": "pca", "component": 1.5}, "malformed component"),
        (ROW | {"kind": "stylespace"}, "needs 'channels'"),
        (ROW | {"kind": "stylespace", "channels": [5]}, "malformed layers or channels"),
        (ROW | {"kind": "mapper", "levels": ["C"]}, "malformed levels"),
        (ROW | {"aliases": [3]}, "malformed names"),
    ],
)
def test_a_malformed_row_is_refused_in_one_sentence(row, message):
    with pytest.raises(DirectionError, match=message):
        Catalog.from_table({"directions": [row]}, {})


def test_a_table_of_another_kind_or_a_double_name_is_refused():
    with pytest.raises(DirectionError, match="list called 'directions'"):
        Catalog.from_table({"edits": []}, {})
    with pytest.raises(DirectionError, match="two directions answer to the name 'own'"):
        Catalog.from_table({"directions": [ROW, ROW | {"name": "x", "aliases": ["OWN"]}]}, {})


@pytest.mark.parametrize("name", ["eye_openness", "eyebrow_thickness"])
def test_a_sign_that_no_source_settles_is_not_told(name):
    entry = load_catalog("ffhq").find(name)
    assert "which sign does which is not known" in entry.help
    assert "ositive" not in entry.help
