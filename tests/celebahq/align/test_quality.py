"""The score falls with every kind of damage, noise included, and with what a crop had to invent."""

import bench_quality as bench
import cv2
import numpy as np
import pytest
import skimage.data
from scipy.stats import spearmanr

from celebahq import build_score, spectral_quality
from celebahq.align.quality import (
    FLAT_SPECTRUM,
    find_specks,
    halo_ratio,
    noise_and_detail,
    ring_means,
    spectral_terms,
)

PHOTOS = {
    "astronaut": skimage.data.astronaut(),
    "cat": np.ascontiguousarray(skimage.data.chelsea()[:, 60:400]),
    "coffee": np.ascontiguousarray(skimage.data.coffee()[:, 100:500]),
}
NOISES = [bench.colour_noise, bench.grey_noise, bench.soft_noise, bench.noise_on_blur, bench.specks]


def chance():
    return np.random.default_rng(7)


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize("damage", bench.SPECTRAL, ids=lambda damage: damage.__name__)
def test_more_damage_scores_lower(damage, photo):
    severities = bench.SPECTRAL[damage]
    scores = [spectral_quality(photo)]
    scores += [spectral_quality(damage(photo, severity, chance())) for severity in severities]
    assert spearmanr(range(len(scores)), scores).statistic <= -0.9
    assert max(scores[2:]) < scores[0]  # the slightest damage may go unnoticed, no other


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.__name__)
@pytest.mark.parametrize("blurred", [0, 1, 3])
def test_noise_never_scores_above_clean_however_blurred_the_picture_was(photo, noise, blurred):
    photo = bench.blur(photo, blurred, chance()) if blurred else photo
    clean = spectral_quality(photo)
    for severity in bench.SPECTRAL[noise]:
        assert spectral_quality(noise(photo, severity, chance())) < clean


def test_mirroring_and_turning_do_not_matter():
    photo = PHOTOS["astronaut"]
    score = spectral_quality(photo)
    for turned in (photo[:, ::-1], photo[::-1], np.rot90(photo)):
        # The window and the middle that noise is measured in are symmetric up to one pixel; the middle is
        # wider than high.
        assert spectral_quality(np.ascontiguousarray(turned)) == pytest.approx(score, abs=0.15)


def test_pictures_without_content_score_lowest():
    worst = min(spectral_quality(bench.blur(photo, 6, chance())) for photo in PHOTOS.values())
    assert spectral_quality(np.full((512, 512, 3), 99, np.uint8)) < worst
    ramp = np.repeat(np.linspace(0, 255, 512).astype(np.uint8)[:, None, None], 512, axis=1).repeat(3, axis=2)
    assert spectral_quality(ramp) < worst


def test_white_noise_has_its_variance_in_every_ring_and_a_flat_spectrum():
    noise = np.random.default_rng(0).normal(0, 5, (512, 512)).astype(np.float32)
    arithmetic, geometric, frequency = ring_means(noise)
    fine = frequency > 0.02  # rings with enough coefficients for the means
    np.testing.assert_allclose(arithmetic[fine], np.log10(25), atol=0.05)
    np.testing.assert_allclose((arithmetic - geometric)[fine], FLAT_SPECTRUM, atol=0.05)
    assert (np.diff(frequency) > 0).all()
    assert frequency[-1] < 0.5


def test_noise_is_measured_beside_the_detail_of_a_picture():
    smooth = bench.blur(PHOTOS["astronaut"], 2, chance())[..., 1].astype(np.float32)
    for sigma in (2.0, 6.0, 20.0):
        noisy = smooth + np.random.default_rng(0).normal(0, sigma, smooth.shape).astype(np.float32)
        noise, detail = noise_and_detail(noisy, np.ones(noisy.shape, np.bool_))
        assert noise[0] == pytest.approx(sigma, rel=0.1)
        assert noise[0] == pytest.approx(detail[0], rel=0.1)


def test_stripes_show_as_asymmetry_blur_as_breadth_noise_as_noise():
    photo = PHOTOS["coffee"]
    original = spectral_terms(photo)
    assert spectral_terms(bench.scan_lines(photo, 0.3, chance())).asymmetry > original.asymmetry + 0.1
    assert spectral_terms(bench.blur(photo, 2, chance())).breadth < original.breadth - 0.5
    assert spectral_terms(bench.grey_noise(photo, 20, chance())).noise > original.noise + 0.5


def test_specks_are_pixels_beyond_all_their_neighbours():
    grey = np.full((20, 20), 100, np.uint8)
    grey[5, 5], grey[0, 19], grey[10, 10], grey[12:14, 3] = 131, 69, 130, 255
    assert np.argwhere(find_specks(grey)).tolist() == [[0, 19], [5, 5]]


def test_block_artifacts_lower_the_builds_score():
    image = PHOTOS["astronaut"]
    scores = [build_score(image, bench.jpeg(image, damage, chance())) for damage in (0, 20, 50, 80, 90)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 1
    assert build_score(image, np.zeros((64, 64, 3), np.uint8)) == spectral_quality(image)


@pytest.mark.parametrize(
    "image",
    [np.zeros((99, 99), np.uint8), np.zeros((99, 99, 3), np.float32), np.zeros((99, 99, 4), np.uint8)],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="image must be"):
        spectral_quality(image)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="64 pixels or more"):
        spectral_quality(np.zeros((63, 99, 3), np.uint8))
    assert np.isfinite(spectral_quality(np.zeros((64, 64, 3), np.uint8)))


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize("damage", [bench.cartoon, bench.over_exposed], ids=lambda damage: damage.__name__)
def test_pictures_that_were_made_crisp_by_processing_score_below_the_photo(damage, photo):
    strongest = bench.PROCESSING[damage][-1]
    assert spectral_quality(damage(photo, strongest, chance())) < spectral_quality(photo)


def test_each_kind_of_processing_has_its_term():
    photo = PHOTOS["astronaut"]
    original = spectral_terms(photo)
    assert spectral_terms(bench.cartoon(photo, 1, chance())).flatness > original.flatness + 0.3
    assert spectral_terms(bench.over_exposed(photo, 2, chance())).clipping > original.clipping + 0.2
    assert spectral_terms(bench.over_sharpened(photo, 4, chance())).halo > original.halo + 0.2


def test_the_halo_of_a_step_is_the_closed_forms_and_sharpening_adds_to_it():
    step = np.full((96, 800), 50, np.uint8)
    step[:, 400:] = 150
    halo = halo_ratio(step.astype(np.float32))
    # The strongest 3 % are 24 columns: there the step is farther from its blurred self than further out.
    assert 0.7 * np.sqrt(np.pi / 2) < halo < np.sqrt(np.pi / 2)
    soft = bench.blur(np.repeat(step[..., None], 3, axis=2), 2, chance())
    ratios = [
        halo_ratio(bench.over_sharpened(soft, a, chance())[..., 0].astype(np.float32)) for a in (0, 1, 3)
    ]
    assert ratios[0] < ratios[1] < ratios[2]
    assert halo_ratio(np.full((96, 96), 7, np.float32)) == 0


def test_what_surrounds_the_face_does_not_matter():
    photo = PHOTOS["astronaut"]
    changed = np.zeros_like(photo)
    inner = slice(len(photo) * 15 // 100, len(photo) * 85 // 100 + 1)
    changed[inner, inner] = photo[inner, inner]
    assert spectral_quality(changed) == spectral_quality(photo)


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_a_face_that_is_half_invented_scores_below_the_same_face_whole(photo):
    side = min(photo.shape[:2])
    whole = photo[:side, :side]
    for tightness in (0.1, 0.15, 0.2, 0.25):
        edge = round(tightness * side)
        tight = cv2.copyMakeBorder(whole[edge:-edge, edge:-edge], *[edge] * 4, cv2.BORDER_REFLECT)
        outside = 1 - (1 - 2 * edge / side) ** 2
        assert build_score(tight, photo, outside=outside) < build_score(whole, photo) - outside


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize(
    ("damage", "severity"),
    [(bench.colour_noise, 64), (bench.soft_noise, 32), (bench.specks, 0.3), (bench.over_exposed, 3)],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("share", [0.1, 0.35, 0.5])
def test_what_is_made_up_does_not_hide_what_is_wrong_with_the_rest(photo, damage, severity, share):
    whole = damage(photo, severity, chance())
    half, known = whole.copy(), np.ones(whole.shape[:2], np.bool_)
    made_up = slice(round(share * whole.shape[1]))
    half[:, made_up] = np.median(whole, axis=(0, 1))
    known[:, made_up] = False
    score = build_score(half, photo, outside=1 - known.mean(), known=known)
    assert score < build_score(whole, photo)


def test_what_is_known_has_the_images_size():
    with pytest.raises(ValueError, match=r"known must be \(512, 512\)"):
        spectral_terms(PHOTOS["astronaut"], np.ones((512, 511), np.bool_))


def test_what_is_hardly_a_face_scores_lower():
    photo = PHOTOS["astronaut"]
    sure = build_score(photo, photo)
    assert build_score(photo, photo, confidence=0.1) < build_score(photo, photo, confidence=0.6) < sure
    assert build_score(photo, photo, confidence=1) == sure
