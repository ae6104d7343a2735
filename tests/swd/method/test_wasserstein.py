import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from threadpoolctl import threadpool_info, threadpool_limits

from swd import sliced_wasserstein
from swd.method import wasserstein
from swd.method.randomness import random_directions
from swd.method.wasserstein import direction_distances, pair_distances

ALL = [f"swd_{size}_{kind}" for size in (16, 32, 64, 128) for kind in ("uint8", "float32")]


@pytest.fixture
def portable(monkeypatch):
    """The code path of GPUs, run on CPU tensors."""

    monkeypatch.setattr(wasserstein, "sort_rows", lambda values: values.sort(dim=1).values)
    monkeypatch.setattr(wasserstein, "row_blocks", lambda projections: [slice(None)])


@pytest.mark.parametrize("name", ALL)
def test_distance_equals_the_original(golden, name):
    data = golden(name)
    for level, expected in enumerate(data["dist"]):
        a, b = (torch.from_numpy(data[f"fin_{key}_{level}"]) for key in "ab")
        repeats = [sliced_wasserstein(a, b, torch.from_numpy(d)) for d in data[f"dirs_{level}"]]
        torch.testing.assert_close(
            torch.stack(repeats), torch.from_numpy(data[f"repeat_dist_{level}"]), rtol=1e-6, atol=0
        )
        assert float(torch.stack(repeats).mean()) == pytest.approx(expected, rel=1e-6)


def test_finalised_sets_of_the_original_give_its_distance(golden):
    data = golden("swd_ops")
    a, b, directions = (torch.from_numpy(data[f"fs_{key}"]) for key in ("fin_a", "fin_b", "dirs"))
    assert float(sliced_wasserstein(a, b, directions)) == pytest.approx(float(data["fs_dist"]), rel=1e-6)


def test_distance_of_a_shift_is_the_mean_projected_shift():
    descriptors, directions = torch.randn(500, 147), random_directions(147, count=16)
    shift = torch.randn(147)
    distance = sliced_wasserstein(descriptors, descriptors + shift, directions)
    torch.testing.assert_close(distance, (shift @ directions).abs().mean(), rtol=1e-4, atol=1e-5)


def test_order_does_not_matter():
    a = torch.randn(300, 20)
    assert sliced_wasserstein(a, a[torch.randperm(300)], random_directions(20, count=8)) < 1e-6


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40))
def test_unequal_sizes_are_exact(m, k):
    a, b = torch.randn(m, 5), torch.randn(k, 5) + 1
    directions = random_directions(5, repeats=1, count=3)
    expected = [
        wasserstein_distance((a @ d).numpy(), (b @ d).numpy()) for d in directions.T
    ]  # SciPy integrates the difference of the distribution functions
    assert direction_distances(a, b, directions).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("sizes", [(50, 50), (50, 35)])
def test_the_gpu_code_path_gives_the_same(sizes, monkeypatch):
    a, b = (torch.randn(size, 10) for size in sizes)
    directions = random_directions(10, count=4)
    portable = direction_distances(a, b, directions)
    monkeypatch.undo()
    torch.testing.assert_close(portable, direction_distances(a, b, directions))


@pytest.mark.parametrize("sizes", [(50, 50), (50, 35)])
def test_chunks_of_directions_do_not_matter(sizes, monkeypatch):
    a, b = (torch.randn(size, 10) for size in sizes)
    directions = random_directions(10, count=20)
    whole = direction_distances(a, b, directions)
    monkeypatch.setattr(wasserstein, "_THREAD_BYTES", 4 * 100 * 12)
    torch.testing.assert_close(direction_distances(a, b, directions), whole, rtol=1e-6, atol=0)


@pytest.fixture(params=["torch", "numpy"])
def library(request, monkeypatch):
    """Products as on each kind of processor."""
    monkeypatch.setattr("swd.method.products.numpy_is_faster", lambda: request.param == "numpy")


def test_either_library_gives_the_same_distances(monkeypatch):
    a, b, directions = torch.randn(500, 147), torch.randn(400, 147), random_directions(147, count=40)
    found = []
    for faster in (False, True):
        monkeypatch.setattr("swd.method.products.numpy_is_faster", lambda faster=faster: faster)
        found.append(direction_distances(a, b, directions))
    # float32 products of 147 terms, added up in another order
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_numpy_multiplies_in_one_thread_meanwhile_and_as_before_afterwards(monkeypatch):
    monkeypatch.setattr("swd.method.products.numpy_is_faster", lambda: True)

    def counts():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    matmul, seen = np.matmul, []
    monkeypatch.setattr(
        np, "matmul", lambda *args, **kwargs: (seen.append(counts()), matmul(*args, **kwargs))
    )
    before = counts()
    with threadpool_limits(2, user_api="blas"):
        during = counts()
        direction_distances(torch.randn(50, 9), torch.randn(50, 9), random_directions(9, count=8))
        assert counts() == during
    assert counts() == before
    assert before
    assert seen
    assert all(found == [1] * len(before) for found in seen)


def test_threads_do_not_matter(library):
    a, b, directions = torch.randn(5000, 20).requires_grad_(), torch.randn(3000, 20), random_directions(20)
    torch.set_num_threads(1)
    alone = direction_distances(a, b, directions)
    torch.set_num_threads(3)
    assert torch.equal(direction_distances(a, b, directions), alone)


def test_inference_mode_and_gradients_do_not_matter(library):
    torch.set_num_threads(2)
    a, b, directions = torch.randn(900, 5), torch.randn(900, 5), random_directions(5)
    expected = sliced_wasserstein(a, b, directions)
    with torch.inference_mode():
        assert torch.equal(sliced_wasserstein(a.clone(), b.clone(), directions.clone()), expected)
    assert torch.equal(sliced_wasserstein(a.requires_grad_(), b, directions), expected)


@pytest.mark.parametrize(("directions", "size"), [(512, 64), (384, 64), (64, 16), (10, 10), (1, 1)])
def test_chunks_are_many_enough_for_several_threads(directions, size):
    assert wasserstein._chunk_size(directions, 100, torch.device("cpu")) == size


@pytest.mark.parametrize(("rows", "size"), [(1 << 23, 16), (1 << 26, 8)])
def test_memory_bounds_a_chunk(rows, size):
    # 2^23 projections onto 16 directions are 512 MB; products for fewer than 8 are too slow
    assert wasserstein._chunk_size(512, rows, torch.device("cpu")) == size


def test_what_is_done_with_projections_comes_back_in_order():
    torch.set_num_threads(2)
    a, directions = torch.randn(50, 20), random_directions(20)

    def work(which, projections):
        return which.start, *(values.clone() for values in projections)

    parts = wasserstein.over_directions(work, [a, a[:30]], directions)
    assert len(parts) > 2
    assert [start for start, _, _ in parts] == sorted(start for start, _, _ in parts)
    torch.testing.assert_close(torch.cat([x for _, x, _ in parts]), directions.T @ a.T)
    torch.testing.assert_close(torch.cat([y for _, _, y in parts]), directions.T @ a[:30].T)


def test_inputs_stay_as_they_are():
    a, b, directions = torch.randn(20, 5), torch.randn(20, 5), random_directions(5, count=2)
    before = a.clone(), b.clone(), directions.clone()
    sliced_wasserstein(a, b, directions)
    assert all(torch.equal(x, y) for x, y in zip((a, b, directions), before, strict=True))


def precisions():
    return [backend.matmul.fp32_precision for backend in (torch.backends.cuda, torch.backends.mkldnn)]


def ask_for_medium():
    torch.set_float32_matmul_precision("medium")


def ask_for_tf32():
    torch.backends.cuda.matmul.allow_tf32 = True


def ask_for_both_ways():  # what PyTorch has no single word for; a training with TF32 after "medium"
    ask_for_medium()
    ask_for_tf32()


@pytest.mark.parametrize("ask", [ask_for_medium, ask_for_tf32, ask_for_both_ways])
def test_lower_matmul_precision_asked_for_elsewhere_is_not_used(ask):
    a, b, directions = torch.randn(64, 147), torch.randn(64, 147), random_directions(147, count=8)
    expected = direction_distances(a, b, directions)
    ask()
    asked = precisions()
    assert asked != ["ieee", "ieee"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(2):
            assert torch.equal(direction_distances(a, b, directions), expected)
    assert precisions() == asked


@pytest.mark.parametrize(
    ("dtype", "result", "rounding"),
    # A float16 number is known to 2^-11 of it; float32 sums of five products to 2^-21.
    [
        (torch.float64, torch.float64, 1e-13),
        (torch.float32, torch.float32, 1e-6),
        (torch.float16, torch.float32, 1e-2),
    ],
)
def test_result_is_a_scalar_as_precise_as_the_inputs(dtype, result, rounding):
    a, b, directions = torch.randn(9, 5).double(), torch.randn(9, 5).double(), random_directions(5).double()
    distance = sliced_wasserstein(a.to(dtype), b.to(dtype), directions.to(dtype))
    expected = [wasserstein_distance((a @ d).numpy(), (b @ d).numpy()) for d in directions.T]
    assert distance.shape == ()
    assert distance.dtype == result
    assert float(distance) == pytest.approx(sum(expected) / len(expected), rel=rounding)


def test_several_pairs_are_each_compared_as_alone():
    sets, directions = [torch.randn(count, 10) for count in (50, 50, 35)], random_directions(10, count=4)
    pairs = [(0, 1), (2, 0), (0, 0)]
    found = pair_distances(sets, pairs, directions)
    for row, (a, b) in zip(found, pairs, strict=True):
        assert torch.equal(row, direction_distances(sets[a], sets[b], directions))
    assert found[2].abs().max() == 0


@pytest.mark.parametrize(
    ("a", "b", "directions"),
    [((9, 5), (9, 4), (5, 2)), ((9, 5), (9, 5), (4, 2)), ((9,), (9, 5), (5, 2)), ((0, 5), (9, 5), (5, 2))],
)
def test_misuse_names_the_arguments(a, b, directions):
    with pytest.raises(ValueError, match=r"^a, b"):
        sliced_wasserstein(torch.zeros(a), torch.zeros(b), torch.zeros(directions))


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(5000, 5000), (5000, 3000)])
def test_cuda_equals_cpu(sizes):
    a, b = (torch.randn(size, 147) for size in sizes)
    directions = random_directions(147)
    expected = direction_distances(a, b, directions)
    torch.testing.assert_close(
        direction_distances(a.cuda(), b.cuda(), directions.cuda()).cpu(), expected, rtol=1e-5, atol=1e-7
    )
