"""What is measured at which size, with which networks; and the sentence for what is not."""

from __future__ import annotations

import torch

from seeded import seeded_image
from stylefeatureeditor.evaluation.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.evaluation.measures import (
    Networks,
    as_saved,
    find_networks,
    kid_name,
    protocol_notes,
    standard_suite,
)
from stylefeatureeditor.evaluation.metrics import l2
from stylefeatureeditor.evaluation.perceptual import Lpips


def names(suite) -> list[str]:
    return [measure.name for measure in suite.measures]


def test_missing_networks_are_named_with_address_and_place(tmp_path):
    networks = find_networks(tmp_path)
    assert networks.lpips is None
    assert networks.inception is None
    sentences = " ".join(networks.missing)
    for what in (
        "lpips_alex.pth",
        "pt_inception-2015-12-05-6726825d.pth",
        "https://",
        str(tmp_path),
    ):
        assert what in sentences
    assert len(networks.missing) == 4


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
    (describer,) = suite.describers
    assert (describer.name, describer.width) == ("fid_attributes", 256)
    assert describer.describe(torch.zeros(2, 3, 16, 16)).shape == (2, 256)
    assert kid_name(describer.name) == "kid_attributes"
    assert suite.better["fid_attributes"] == suite.better["l2"] == "lower"
    assert suite.better["psnr"] == "higher"


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
    assert any("biased" in note for note in protocol_notes(500))
    assert not any("biased" in note for note in protocol_notes(30_000))
