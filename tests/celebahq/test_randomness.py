import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celebahq.randomness import keyed_hash, splitmix64, to_uniform

WORD = 1 << 64

# SplitMix64's first outputs for seed 1234567, from its published reference implementation.
SPLITMIX_1234567 = [6457827717110365317, 3203168211198807973, 9817491932198370423]


def reference(*key):
    """The hash in Python's unbounded integers."""
    state = 0
    for word in key:
        state = ((state ^ word) + 0x9E3779B97F4A7C15) % WORD
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WORD
        state ^= state >> 31
    return state


def test_the_mixing_function_is_splitmix64():
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + i * step) % WORD for i in range(3)], dtype=np.uint64)
    assert splitmix64(states).tolist() == SPLITMIX_1234567


@given(st.lists(st.integers(0, WORD - 1), min_size=1, max_size=6))
def test_hash_is_arithmetic_modulo_2_to_the_64(key):
    assert keyed_hash(*key).tolist() == [reference(*key)]


def test_words_of_any_size_and_sign_are_taken_modulo_2_to_the_64():
    assert keyed_hash(-1, 2**64 + 3).tolist() == [reference(WORD - 1, 3)]
    assert keyed_hash(np.array([-1])).tolist() == [reference(WORD - 1)]


def test_hash_of_arrays_equals_hash_of_their_numbers():
    words = np.arange(5)
    assert keyed_hash(3, words, 7).tolist() == [keyed_hash(3, int(word), 7)[0] for word in words]


def test_uniform_numbers_never_reach_an_end():
    ends = to_uniform(np.array([0, WORD - 1], np.uint64))
    assert 0 < ends[0] < 1e-15
    assert 1 - 1e-15 < ends[1] < 1
