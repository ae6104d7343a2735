"""The encrypted differences between the aligned photos and the published images."""

import base64
import bz2
import hashlib
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, MissingExtraError, ToolError
from celebahq.readers.zips import zip_errors

DELTAS_PER_ZIP = 1000
SHAPE = (3, 1024, 1024)
ITERATIONS = 100_000
MAX_TOKEN_BYTES = 8 * 2**20
"""An incompressible delta takes 4.3 MB as a token."""


def zip_name(idx: int) -> str:
    """The archive that holds the delta of image `idx`."""
    return f"deltas{idx - idx % DELTAS_PER_ZIP:05d}.zip"


def delta_name(idx: int) -> str:
    """Its name in the archive."""
    return f"delta{idx:05d}.dat"


def read_token(delta_dir: Path, idx: int) -> bytes:
    """The encrypted delta of image `idx`.

    Raises:
        ToolError: The zip is missing, or holds no delta of this image.
        FormatError: The zip is damaged.
    """
    path, name = delta_dir / zip_name(idx), delta_name(idx)
    try:
        with zip_errors(str(path)), zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size <= MAX_TOKEN_BYTES:
                return archive.read(name)
    except FileNotFoundError:
        raise ToolError(path, "no such file") from None
    except KeyError:
        raise ToolError(path, f"holds no {name}") from None
    except FormatError as err:
        raise FormatError(path, f"damaged at {name} ({err.reason}); get the zip again") from err
    raise FormatError(path, f"{name} is larger than any delta")


def decrypt_delta(token: bytes, jpeg: bytes, file_name: str) -> NDArray[np.uint8]:
    """Decrypt a delta with the photo that it belongs to.

    The key is PBKDF2-HMAC-SHA256 of the JPEG file's bytes, salted with the file's name; the token is Fernet
    (AES-128-CBC with an HMAC), its content bzip2 of the array.

    Returns:
        `[3, 1024, 1024]` uint8, to be added to the aligned image modulo 256.

    Raises:
        FormatError: The token was not made with this photo, or is damaged.
        MissingExtraError: `cryptography` is not installed.
    """
    try:
        from cryptography.fernet import Fernet, InvalidToken
    except ImportError as err:
        raise MissingExtraError("cryptography", "reconstruct", "decrypting deltas") from err

    secret = hashlib.pbkdf2_hmac("sha256", jpeg, file_name.encode("ascii"), ITERATIONS, dklen=32)
    try:
        packed = Fernet(base64.urlsafe_b64encode(secret)).decrypt(token)
    except InvalidToken:
        raise FormatError(
            f"the delta does not decrypt with {file_name}: one of the two files is not the original"
        ) from None
    size = int(np.prod(SHAPE))
    try:
        content = bz2.BZ2Decompressor().decompress(packed, max_length=size + 1)
    except (OSError, EOFError) as err:
        raise FormatError(f"the delta of {file_name} does not decompress ({err})") from err
    if len(content) != size:
        raise FormatError(f"the delta of {file_name} decompresses to a length other than {size:,} bytes")
    return np.frombuffer(content, np.uint8).reshape(SHAPE)
