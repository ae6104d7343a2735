"""An error knows what it is about, and crosses between processes."""

import pickle
from pathlib import Path

import pytest

from celebahq.errors import FormatError, MissingExtraError, ToolError, describe_error


@pytest.mark.parametrize(
    ("error", "subject", "reason", "text"),
    [
        (ToolError(Path("a/b.png"), "an empty file"), "a/b.png", "an empty file", "a/b.png: an empty file"),
        (FormatError("--device x: y", "no: such"), "--device x: y", "no: such", "--device x: y: no: such"),
        (
            ToolError("no face follows: from them"),
            "",
            "no face follows: from them",
            "no face follows: from them",
        ),
    ],
)
def test_an_error_knows_its_subject_and_says_both(error, subject, reason, text):
    for err in (error, pickle.loads(pickle.dumps(error))):
        assert type(err) is type(error)
        assert (err.subject, err.reason, str(err), describe_error(err)) == (subject, reason, text, text)


def test_beside_its_subject_the_reason_alone_is_said():
    error = ToolError(Path("a.png"), "too small")
    assert error.beside("a.png") == error.beside(Path("a.png")) == "too small"
    assert error.beside("b.png") == "a.png: too small"
    assert ToolError("too small").beside("") == "too small"


def test_a_missing_package_is_named_in_every_process():
    error = MissingExtraError("lmdb", "lsun", "celebahq import lsun")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingExtraError
    assert str(again) == str(error)
    assert "pip install 'celebahq-toolkit[lsun]'" in str(error)


def test_what_a_file_holds_cannot_break_the_line():
    text = str(ToolError("a\nb\x1b[31m", "holds \x1c and\r\n'\u2028'"))
    assert text == r"a\nb\x1b[31m: holds \x1c and\r\n'\u2028'"
    assert len(text.splitlines()) == 1
