"""Pickles as data: what Python's own pickler writes is read back, and nothing is run or built."""

import io
import os
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celebahq.errors import FormatError
from celebahq.readers import pickles
from celebahq.readers.pickles import ARRAY_GLOBALS, read_pickle, to_array, to_text

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.binary() | st.integers(), inner)
    ),
    max_leaves=20,
)


def read(data):
    return read_pickle(io.BytesIO(data), ARRAY_GLOBALS)


@settings(max_examples=200, deadline=None)
@given(PLAIN, st.integers(3, 4))
def test_plain_values_are_what_pickle_gives(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.integers(0, 2))
def test_so_are_those_of_old_protocols(value, protocol):
    data = pickle.dumps(value, protocol)
    if b"builtin" in data:  # how they write empty bytes
        with pytest.raises(FormatError, match="it asks for"):
            read(data)
    else:
        assert read(data) == value


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "f8", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol(protocol, dtype, order):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype, order=order)
    data = pickle.dumps([array, array[0, 0, 1]], protocol)
    found, scalar = map(to_array, read(data))
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, scalar.shape, scalar) == (np.dtype(dtype), (), 1)


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["a"]), np.zeros(2, "f4,i4"), np.array([1j])])
def test_arrays_of_other_things_are_refused(array):
    with pytest.raises(FormatError, match=r"numbers are expected|something else than numbers"):
        to_array(read(pickle.dumps(array, 4)))


class Bomb:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=r"it asks for (posix|nt)\.system; nothing was executed"):
        read(pickle.dumps([1, Bomb()], protocol))
    assert list(tmp_path.iterdir()) == []


def shared_tuples(depth):
    """A dictionary whose key is a tuple of the same two tuples, and so on: its hash takes 2^depth steps."""
    return b"\x80\x02)q\x000" + b"h\x00h\x00\x86q\x000" * depth + b"}h\x00Ns."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02})" + b"\x85" * 500_000 + b"Ns.", "a key that is a tuple"),
        (shared_tuples(100), "a key that is a tuple"),
        (b"\x80\x02" + b"N0" * pickles.MAX_OPERATIONS, "more than 2,000,000 operations"),
        (b"(" * 100_000 + b"l" * 100_000 + b".", None),
        (b"\x80\x02\x8d" + (1 << 62).to_bytes(8, "little") + b"x.", "damaged"),
        (b"\x80\x02\x8b" + b"\xff\xff\xff\x7f" + b"1.", "damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
        (b"h\x07.", "damaged"),
        (b"(]0e.", "damaged"),
        (b"]N\x85R.", "a call of something that is no function"),
        (b"cnumpy\nndarray\n(tR}b.", None),
        (b"P1\n.", "the operation PERSID"),
        (b"cnumpy\nndarray\n(i\n", "damaged"),
        (b"", "damaged"),
        (b"\x89PNG", "damaged"),
        (b"]]N.", "does not end in one object"),
    ],
    ids=range(16),
)
def test_hostile_pickles_end_soon_in_one_line(data, message):
    start = time.process_time()
    if message is None:
        read(data)
    else:
        with pytest.raises(FormatError, match=message) as error:
            read(data)
        assert "\n" not in str(error.value)
    assert time.process_time() - start < 60  # 2 million operations take some 5 s; without the limit, for ever


def test_no_array_is_made_at_an_address_of_the_file():
    asked = b"cnumpy\nndarray\n((I1\ntVO\n" + pickle.dumps(bytes(8), 3)[2:-1] + b"tR."  # objects at address 0
    with pytest.raises(FormatError, match="not an array"):
        to_array(read(asked))


def test_text_of_python_2_and_3():
    assert (to_text(b"a\xff"), to_text("ü")) == ("a�", "ü")
    with pytest.raises(FormatError, match="text is expected, not int"):
        to_text(3)
