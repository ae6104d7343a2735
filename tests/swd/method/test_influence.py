import pytest
import torch

from swd.method.descriptors import normalize_descriptors
from swd.method.influence import _Side, measure_influence
from swd.method.randomness import random_directions
from swd.method.wasserstein import direction_distances

IMAGES, PATCHES, CHANNELS = 150, 16, 3


@pytest.fixture(scope="module")
def patches():
    """Two sets `[N, P, C, 7, 7]` whose images differ in brightness and contrast, far from each other."""
    generator = torch.Generator().manual_seed(0)

    def draw(spread, tail):
        noise = torch.randn(IMAGES, PATCHES, CHANNELS, 7, 7, generator=generator)
        brightness = torch.randn(IMAGES, 1, CHANNELS, 1, 1, generator=generator)
        contrast = torch.rand(IMAGES, 1, 1, 1, 1, generator=generator) + 0.5
        return spread * brightness + contrast * noise.sign() * noise.abs() ** tail

    return draw(1.0, 1.0), draw(0.5, 5.0)


def normalized(patches):
    return normalize_descriptors(patches.flatten(0, 1))


def measure(a, b, directions):
    return measure_parts(a, b, [directions])


def measure_parts(a, b, directions):
    clusters = [torch.arange(len(side) // PATCHES) for side in (a, b)]
    (found,) = measure_influence(
        [a, b], [(0, 1)], directions, clusters=clusters, patches=PATCHES, channels=CHANNELS
    )
    return found


def test_influence_is_what_doubling_an_image_does(patches):
    a, b = patches
    directions = random_directions(147, repeats=1, count=64)
    found = measure(normalized(a), normalized(b), directions)

    def distance(a, b):
        return float(direction_distances(normalized(a), normalized(b), directions).sum())

    images = range(0, IMAGES, 10)
    for side, influence in ((0, found.on_a[0]), (1, found.on_b[0])):
        changes = []
        for image in images:
            sets = [a, b]
            sets[side] = torch.cat([sets[side], sets[side][image : image + 1]])
            changes.append(distance(*sets) - distance(a, b))
        expected = (influence - influence.mean())[list(images)] / (IMAGES + 1)
        # First order in 1 / N, phi in bins, the derivative from a few patches.
        error = torch.tensor(changes, dtype=torch.float64) - expected
        assert error.std() < 0.15 * expected.std()


def test_distances_are_those_without_influences(patches):
    a, b = map(normalized, patches)
    directions = random_directions(147, repeats=1, count=20)
    found = measure(a, b, directions)
    assert torch.equal(found.along[0], direction_distances(a, b, directions))


def test_threads_do_not_matter(patches):
    a, b = map(normalized, patches)
    directions = random_directions(147, repeats=1, count=20)
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        found.append(measure(a, b, directions))
    assert torch.equal(found[0].along[0], found[1].along[0])
    assert torch.equal(found[0].on_a, found[1].on_a)
    assert torch.equal(found[0].on_b, found[1].on_b)


def test_influences_add_over_directions(patches):
    a, b = map(normalized, patches)
    directions = random_directions(147, repeats=1, count=20)
    parts = [directions, directions[:, :7], directions[:, 7:]]
    whole, first, second = measure_parts(a, b, parts).on_a
    # Products of other shapes are rounded in another way, and a value may fall into the next bin.
    torch.testing.assert_close(whole, first + second, rtol=1e-4, atol=2e-3)


def test_unequal_numbers_of_images(patches):
    a, b = patches
    directions = random_directions(147, repeats=1, count=8)
    found = measure(normalized(a[:50]), normalized(b), directions)
    assert found.on_a.shape == (1, 50)
    assert found.on_b.shape == (1, IMAGES)


def test_equal_sets_have_no_influence(patches):
    a = normalized(patches[0])
    directions = random_directions(147, repeats=1, count=8)
    found = measure(a, a.clone(), directions)
    assert (found.along[0] == 0).all()
    assert (found.on_a == 0).all()


def test_sampling_variance_of_a_distribution_function_is_its_spread():
    images, patches, draws = 60, 8, 300
    generator = torch.Generator().manual_seed(0)
    directions = random_directions(147, repeats=1, count=4)
    places = torch.tensor([-1.0, -0.3, 0.0, 0.5, 1.2]).expand(4, -1).contiguous()
    shares, variances = [], []
    for _ in range(draws):
        # Brightness would make shares vary far more, were it not for the normalisation.
        brightness = 2 * torch.randn(images, 1, 3, 1, 1, generator=generator)
        contrast = torch.rand(images, 1, 1, 1, 1, generator=generator) + 0.5
        pixels = brightness + contrast * torch.randn(images, patches, 3, 7, 7, generator=generator)
        rows = normalized(torch.cat([pixels[:50], pixels[:10]]))  # ten of the images twice
        clusters = torch.tensor([*range(50), *range(10)])
        projections = directions.T @ rows.T
        side = _Side(rows, clusters, patches, 3)
        found = side.distribution(projections, projections.sort(1).values, directions)
        shares.append(found.below(places))
        variances.append(found.variance(shares[-1]))
    ratio = torch.stack(variances).mean(0) / torch.stack(shares).var(0)
    # A variance of 300 draws is known to 8 %. The normalisation is allowed for to first order, which leaves
    # some of so much brightness in; without it the ratio would be 2 to 6.
    assert (ratio > 0.7).all()
    assert (ratio < 1.8).all()
