"""Image metrics, against the released numbers, scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from released import golden
from seeded import seeded_image
from stylefeatureeditor.errors import ShapeError
from stylefeatureeditor.metrics.pixel import frechet_distance, l2, ms_ssim, psnr, ssim


@pytest.fixture(scope="module")
def pair():
    a, b = (seeded_image(f"losses.{name}", 256, 2) for name in "ab")
    return a, torch.lerp(a, b, 0.2)


def to_numpy(pixels: torch.Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to (H, W, 3) in [0, 1], float64."""
    return ((pixels.double() + 1) / 2).permute(1, 2, 0).numpy()


def test_l2_equals_the_release_on_average():
    a, b = (seeded_image(f"losses.{name}", 256, 2) for name in "ab")
    assert l2(a, b).shape == (2,)
    assert l2(a, b).mean().item() == pytest.approx(golden("losses")["l2"], rel=1e-5)


def test_l2_between_black_and_white_is_four():
    assert l2(-torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).item() == 4


def test_ms_ssim_equals_piq_and_the_release(pair):
    values = ms_ssim(pair[0].double(), pair[1].double())
    np.testing.assert_allclose(values, golden("losses")["ms_ssim/piq_per_image"], atol=2e-6)
    assert values.mean().item() == pytest.approx(golden("losses")["ms_ssim/criteria"], abs=1e-5)


def test_ssim_equals_scikit_image(pair):
    ours = ssim(pair[0].double(), pair[1].double())
    for index in range(2):
        theirs = structural_similarity(
            to_numpy(pair[0][index]),
            to_numpy(pair[1][index]),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ours[index].item() == pytest.approx(theirs, abs=1e-9)


def test_psnr_equals_scikit_image(pair):
    theirs = peak_signal_noise_ratio(to_numpy(pair[0][0]), to_numpy(pair[1][0]), data_range=1)
    assert psnr(*pair)[0].item() == pytest.approx(theirs, rel=1e-5)


def test_equal_images_get_the_best_values(pair):
    a = pair[0]
    assert l2(a, a).max() == 0
    assert psnr(a, a).min() == math.inf
    torch.testing.assert_close(ssim(a, a), torch.ones(2))
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(2))


def test_more_noise_is_worse_for_every_metric(pair):
    a = pair[0]
    noise = torch.randn_like(a)
    near, far = (a + 0.05 * noise).clamp(-1, 1), (a + 0.2 * noise).clamp(-1, 1)
    assert (l2(a, near) < l2(a, far)).all()
    for metric in (psnr, ssim, ms_ssim):
        assert (metric(a, near) > metric(a, far)).all()


def test_ms_ssim_of_a_negative_is_zero_and_not_nan():
    a = seeded_image("negative", 192)
    value = ms_ssim(a, -a)
    assert value.item() == 0


def test_odd_sides_are_halved_as_piq_does():
    # 161 is the least side; every halving of it pads once: 161, 81, 41, 21, 11
    a = seeded_image("odd", 161)
    assert 0 < ms_ssim(a, torch.lerp(a, a.flip(3), 0.1)).item() < 1
    with pytest.raises(ShapeError, match="at least 161 pixels a side, got 161x160"):
        ms_ssim(a[:, :, :160], a[:, :, :160])


@pytest.mark.parametrize("metric", [l2, psnr, ssim, ms_ssim])
def test_images_of_two_sizes_are_refused(metric):
    with pytest.raises(ShapeError, match="second"):
        metric(torch.zeros(1, 3, 200, 200), torch.zeros(1, 3, 200, 201))


def statistics(count: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    samples = torch.randn(count, size, generator=torch.Generator().manual_seed(seed)).double()
    samples = samples * torch.linspace(0.5, 2, size) + 0.1 * seed
    return samples.mean(0), torch.cov(samples.T)


def test_frechet_distance_equals_the_matrix_root_formula():
    first, second = statistics(100, 12, 0), statistics(150, 12, 1)
    root = sqrtm(first[1].numpy() @ second[1].numpy()).real
    expected = ((first[0] - second[0]) ** 2).sum().item() + np.trace(
        first[1].numpy() + second[1].numpy() - 2 * root
    )
    assert frechet_distance(*first, *second).item() == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_singular_covariances_is_finite_and_symmetric():
    first, second = statistics(5, 12, 0), statistics(6, 12, 1)
    there, back = frechet_distance(*first, *second), frechet_distance(*second, *first)
    assert there.item() == pytest.approx(back.item(), rel=1e-9)
    assert frechet_distance(*first, *first).item() == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_shifted_gaussians_is_the_squared_shift():
    mean, cov = statistics(100, 4, 0)
    assert frechet_distance(mean, cov, mean + 2, cov).item() == pytest.approx(16, rel=1e-6)


def test_frechet_distance_refuses_shapes_that_do_not_fit():
    mean, cov = statistics(10, 4, 0)
    with pytest.raises(ShapeError, match="cov2"):
        frechet_distance(mean, cov, mean, cov[:3])
