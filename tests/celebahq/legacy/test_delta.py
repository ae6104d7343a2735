"""Deltas decrypt with their own photo and nothing else."""

import base64
import bz2
import hashlib
import hmac
import zipfile

import numpy as np
import pytest
from cryptography.fernet import Fernet

from celebahq.errors import FormatError, ToolError
from celebahq.legacy import delta as module
from celebahq.legacy.delta import decrypt_delta, delta_name, read_token, zip_name

JPEG = b"\xff\xd8 the bytes of a photo"


def encrypt(content, jpeg=JPEG, name="000007.jpg"):
    secret = hashlib.pbkdf2_hmac("sha256", jpeg, name.encode(), 100_000, 32)
    return Fernet(base64.urlsafe_b64encode(secret)).encrypt(content)


def test_names_by_the_thousand():
    assert (zip_name(0), delta_name(0)) == ("deltas00000.zip", "delta00000.dat")
    assert (zip_name(29999), delta_name(29999)) == ("deltas29000.zip", "delta29999.dat")


def test_a_delta_comes_back():
    delta = np.random.default_rng(0).integers(0, 256, (3, 1024, 1024), dtype=np.uint8)
    np.testing.assert_array_equal(decrypt_delta(encrypt(bz2.compress(delta)), JPEG, "000007.jpg"), delta)


def test_the_key_is_pbkdf2_by_the_definition():
    """RFC 8018, section 5.2, for a single block: U1 xor U2 xor ... of 100,000 HMACs."""
    block = hmac.digest(JPEG, b"000007.jpg" + (1).to_bytes(4, "big"), "sha256")
    secret = int.from_bytes(block, "big")
    for _ in range(99_999):
        block = hmac.digest(JPEG, block, "sha256")
        secret ^= int.from_bytes(block, "big")
    fernet = Fernet(base64.urlsafe_b64encode(secret.to_bytes(32, "big")))
    token = fernet.encrypt(bz2.compress(bytes([7]) * 3 * 1024 * 1024))
    assert (decrypt_delta(token, JPEG, "000007.jpg") == 7).all()


def test_another_photo_another_name_or_a_damaged_token_do_not_decrypt():
    token = encrypt(bz2.compress(bytes(3 * 1024 * 1024)))
    for wrong in [
        (token, JPEG + b"\n", "000007.jpg"),
        (token, JPEG, "000008.jpg"),
        (token[:-9], JPEG, "000007.jpg"),
    ]:
        with pytest.raises(FormatError, match=f"does not decrypt with {wrong[2]}"):
            decrypt_delta(*wrong)


@pytest.mark.parametrize("content", [b"not bzip2", bz2.compress(b"short"), bz2.compress(bytes(10**8))])
def test_other_content_is_refused_without_unpacking_all_of_it(content):
    with pytest.raises(FormatError, match=r"delta of 000007\.jpg"):
        decrypt_delta(encrypt(content), JPEG, "000007.jpg")


def test_zips_that_lack_a_delta_or_are_damaged(tmp_path):
    with pytest.raises(ToolError, match=r"deltas00000\.zip: no such file"):
        read_token(tmp_path, 3)
    with zipfile.ZipFile(tmp_path / "deltas00000.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("delta00003.dat", b"token" * 1000)
        archive.writestr("delta00004.dat", b"other" * 1000)
    assert read_token(tmp_path, 3) == b"token" * 1000
    with pytest.raises(ToolError, match=r"deltas00000\.zip: holds no delta00005\.dat"):
        read_token(tmp_path, 5)
    content = bytearray((tmp_path / "deltas00000.zip").read_bytes())
    content[50] ^= 255
    (tmp_path / "deltas00000.zip").write_bytes(content)
    with pytest.raises(
        FormatError, match=r"deltas00000\.zip: damaged at delta00003\.dat .*; get the zip again"
    ):
        read_token(tmp_path, 3)
    (tmp_path / "deltas00000.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read_token(tmp_path, 4)


def test_a_member_larger_than_any_delta_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_TOKEN_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "deltas00000.zip", "w") as archive:
        archive.writestr("delta00003.dat", b"0123456789x")
    with pytest.raises(FormatError, match="larger than any delta"):
        read_token(tmp_path, 3)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_damaged_anywhere_is_one_line(tmp_path, compression):
    path = tmp_path / "deltas00000.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("delta00000.dat", bytes(range(256)) * 4)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert read_token(tmp_path, 0) == bytes(range(256)) * 4
        except ToolError:
            refused += 1
    assert refused > 100
