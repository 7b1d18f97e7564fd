"""The table of published files is well formed."""

import re
from urllib.parse import urlsplit

import pytest

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.sources import GROUPS, SOURCES, find_sources


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_every_source_is_well_formed(source):
    assert SOURCES[source.name] is source
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", source.name)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", source.file_name)
    assert source.urls
    for url in source.urls:
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.path.count("//") == 0
        assert not parts.query or parts.hostname == "drive.usercontent.google.com"
    assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    assert source.size is None or source.size > 0
    assert source.what
    assert source.feeds


def test_names_do_not_collide():
    files = [source.file_name for source in SOURCES.values()]
    assert len(files) == len(set(files))
    hashes = [source.sha256 for source in SOURCES.values() if source.sha256]
    assert len(hashes) == len(set(hashes))
    assert not set(GROUPS) & set(SOURCES)


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_a_hash_in_a_file_name_begins_the_sha256(source):
    written = re.search(r"-([0-9a-f]{8})\.pth$", source.file_name)
    if written:
        assert source.sha256
        assert source.sha256.startswith(written[1])


def test_groups_hold_known_files_and_ffhq_what_the_converter_asks_for():
    for members in GROUPS.values():
        assert set(members) <= set(SOURCES)
    assert {"sfe-editor", "stylegan2-ffhq", "e4e-ffhq"} <= set(GROUPS["ffhq"])


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("lpips", {"lpips_alex.pth", "lpips_vgg.pth"}),
        ("lpips-alex", {"lpips_alex.pth", "alexnet-owt-7be5be79.pth"}),
        ("lpips-vgg", {"lpips_vgg.pth", "vgg16-397923af.pth"}),
        ("arcface", {"model_ir_se50.pth"}),
        ("curricularface", {"CurricularFace_Backbone.pth"}),
        ("inception", {"pt_inception-2015-12-05-6726825d.pth"}),
        ("moco", {"moco_v2_800ep_pretrain.pt"}),
    ],
)
def test_what_measures_is_pulled_whole_by_its_name(name, files):
    """LPIPS needs its trunk too."""
    assert files <= {source.file_name for source in find_sources(name)}
    if name != "moco":
        metrics = {source.file_name for source in find_sources("metrics")}
        assert {source.file_name for source in find_sources(name)} <= metrics


def test_a_name_is_a_group_or_a_file_or_an_error_with_the_nearest():
    assert [source.name for source in find_sources("ffhq")] == list(GROUPS["ffhq"])
    assert find_sources("age") == (SOURCES["age"],)
    with pytest.raises(WeightsError, match="ffhq"):
        find_sources("fhq")
    with pytest.raises(WeightsError, match="did you mean"):
        find_sources("zzzzzz")


@pytest.mark.parametrize("name", ["sfe-inverter", "iresnet50", "ir-se50"])
def test_what_only_training_reads_says_how(name):
    assert re.search("`sfe train (inverter|e4e) --tune-from` reads it", SOURCES[name].what)


def test_what_has_no_licence_says_so():
    unlicensed = {source.name for source in SOURCES.values() if source.licence is None}
    assert unlicensed >= {"style-transformer-ffhq", "hfgi-ffhq"}
    assert all(SOURCES[name].terms.startswith("none stated") for name in unlicensed)
