"""What is measured at which size, with which networks; and the sentence for what is not."""

from __future__ import annotations

import re

import pytest
import torch

from seeded import seeded_image
from seeded_critics import ir_layout
from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.evaluation import measures
from stylefeatureeditor.evaluation.measures import (
    Networks,
    as_saved,
    find_networks,
    kid_name,
    protocol_notes,
    standard_suite,
)
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.metrics.perceptual import ArcFaceConfig, Lpips
from stylefeatureeditor.metrics.pixel import l2
from stylefeatureeditor.weights.sources import SOURCES, find_sources


def names(suite) -> list[str]:
    return [measure.name for measure in suite.measures]


def test_missing_networks_are_named_with_address_and_place(tmp_path):
    networks = find_networks(tmp_path)
    assert networks.lpips is None
    assert networks.inception is None
    sentences = " ".join(networks.missing)
    for what in (
        "alexnet-owt-7be5be79.pth",
        "lpips_vgg.pth",
        "CurricularFace_Backbone.pth",
        "model_ir_se50.pth",
        "pt_inception-2015-12-05-6726825d.pth",
        "https://",
        str(tmp_path),
    ):
        assert what in sentences
    assert len(networks.missing) == 5


@pytest.mark.parametrize(
    ("here", "sentence"),
    [
        ((), "LPIPS is left out, because lpips_alex.pth and alexnet-owt-7be5be79.pth are not on"),
        (("lpips_alex.pth",), "LPIPS is left out, because alexnet-owt-7be5be79.pth is not on"),
    ],
)
def test_only_the_files_that_are_missing_are_named(here, sentence, tmp_path):
    for name in here:
        (tmp_path / name).touch()
    networks = find_networks(tmp_path)
    assert networks.missing[0].startswith(sentence)
    assert "`sfe models pull lpips-alex`" in networks.missing[0]
    assert networks.missing[0].count(" to ") == 2 - len(here)


def test_every_name_that_is_offered_can_be_pulled(tmp_path):
    for sentence in find_networks(tmp_path).missing:
        name = re.search(r"`sfe models pull ([\w-]+)`", sentence)[1]
        assert all(source.urls[0] in sentence for source in find_sources(name))


def test_a_face_network_is_read_from_its_file_or_refused(tmp_path, monkeypatch):
    small = ArcFaceConfig(
        trunk=IRConfig(channels=(4, 6, 8, 8), depths=(1, 1, 1, 1), squeeze=None),
        side=32,
        feature_affine=False,
    )
    monkeypatch.setattr(measures, "curricularface", lambda: small)
    file = tmp_path / SOURCES["curricularface"].file_name
    layout = ir_layout((1, 1, 1, 1), channels=(4, 4, 6, 8, 8), side=2)
    state = {key: torch.rand(shape) if shape else torch.tensor(0) for key, shape in layout.items()}
    torch.save(state, file)
    suite = standard_suite(64, find_networks(tmp_path))
    assert names(suite) == ["l2", "psnr", "ssim", "identity"]
    identity = suite.measures[-1].compare(seeded_image("a", 64, 2), seeded_image("a", 64, 2))
    torch.testing.assert_close(identity, torch.ones(2))
    for content in ([1, 2], {"input_layer.0.weight": torch.ones(2)}):
        torch.save(content, file)
        with pytest.raises(WeightsError, match=file.name):
            find_networks(tmp_path)


def test_the_other_metrics_still_run_without_networks():
    suite = standard_suite(64, Networks(missing=("FID is left out",)))
    assert names(suite) == ["l2", "psnr", "ssim"]
    assert suite.left_out[0] == "FID is left out"
    first, second = seeded_image("a", 64, 2), seeded_image("b", 64, 2)
    assert all(measure.compare(first, second).shape == (2,) for measure in suite.measures)


def test_small_images_leave_out_what_needs_large_ones():
    assert "ms_ssim" in names(standard_suite(256, Networks()))
    sentences = standard_suite(16, Networks(lpips=Lpips("alex"))).left_out
    assert any("at least 32 pixels" in sentence for sentence in sentences)
    assert any("at least 161 pixels" in sentence for sentence in sentences)


def test_networks_on_disk_take_part():
    networks = Networks(lpips=Lpips("alex"), lpips_vgg=Lpips("vgg"))
    assert {"lpips", "lpips_vgg"} <= set(names(standard_suite(64, networks)))


def test_a_classifier_gives_a_set_distance_of_its_own():
    classifier = AttributeClassifier(AttributeClassifierConfig(attributes=("a",), size=16)).eval()
    suite = standard_suite(16, Networks(), classifier)
    (extractor,) = suite.extractors
    assert (extractor.name, extractor.width) == ("fid_attributes", 256)
    assert extractor.extract(torch.zeros(2, 3, 16, 16)).shape == (2, 256)
    assert kid_name(extractor.name) == "kid_attributes"


def test_l2_is_measured_at_256_pixels():
    measure = standard_suite(512, Networks()).measures[0]
    first, second = seeded_image("c", 512, 1), seeded_image("d", 512, 1)
    fine = torch.zeros(1, 3, 512, 512)
    fine[..., ::2] = 1
    assert measure.compare(fine, 1 - fine).item() < 0.05 < l2(fine, 1 - fine).item()
    assert measure.compare(first, second).item() > 0


def test_saved_pixels_are_clipped_and_on_the_8_bit_grid():
    saved = as_saved(torch.tensor([-2.0, 0.001, 0.999, 3.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2))
    levels = (saved + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert saved.min() == -1
    assert saved.max() == 1
    assert torch.equal(as_saved(saved), saved)


def test_notes_warn_of_small_sets():
    assert any("from 500 on) is biased" in note for note in protocol_notes(500))
    for fewest in (30_000, None):
        assert not any("FID" in note or "KID" in note for note in protocol_notes(fewest))
