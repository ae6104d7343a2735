"""The bytes of shard logs.

    log     = opening | record ... | seal
    each    = MAGIC | header length u32 | blobs length u64 | header crc32 u32 | blobs crc32 u32
              | header | blobs

Little-endian; headers are JSON. The opening holds the job's digest and the shard's number. A record holds
item, meta, label, score, reason and the lengths of its blobs. The seal holds the number of records and the
SHA-256 of all that comes before it but the blobs, whose checksums are among what it covers: a log that is
emptied, cut between records, put in another's place or holds an item twice is found without reading images.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from celebahq.jobs.shards import Entry, Record

OPENING, RECORD, SEAL = b"CHQO", b"CHQR", b"CHQS"
PREFIX = struct.Struct("<4sIQII")
LOG_VERSION = 2


class Header(NamedTuple):
    """The part of an opening, record or seal that is read without its blobs."""

    magic: bytes
    head: bytes
    """As it stands in the file, with its prefix."""
    fields: dict[str, Any]
    body_bytes: int
    body_crc: int
    end: int
    """Offset in the file."""

    @property
    def item(self) -> int:
        """The number of the item that a record is of."""
        return int(self.fields["item"])

    def entry(self) -> Entry:
        """What a record says, in short."""
        fields = self.fields
        return Entry(fields["item"], fields["score"], fields["reason"], sum(fields["sizes"]))

    def record(self, body: bytes) -> Record:
        """The whole record, given its blobs one after the other; without them where `body` is empty."""
        blobs = list(split_blobs(body, self.fields["sizes"])) if body else []
        entry = self.entry()._replace(blob_bytes=len(body))
        return Record(entry, self.fields["meta"], self.fields["label"], blobs)


def read_headers(file: BinaryIO, *, verify_blobs: bool = False) -> Iterator[Header]:
    """All from the start of a file to the first that is torn or damaged."""
    size = os.fstat(file.fileno()).st_size
    while len(prefix := file.read(PREFIX.size)) == PREFIX.size:
        magic, head_bytes, body_bytes, head_crc, body_crc = PREFIX.unpack(prefix)
        head = file.read(head_bytes) if head_bytes <= size else b""
        end = file.tell() + body_bytes
        # Zeros, where a file grew and its blocks were not written, are the length and checksum of nothing.
        is_head = 0 < len(head) == head_bytes and zlib.crc32(head) == head_crc
        if magic not in (OPENING, RECORD, SEAL) or not is_head:
            return
        if end > size or (verify_blobs and zlib.crc32(file.read(body_bytes)) != body_crc):
            return
        yield Header(magic, prefix + head, json.loads(head), body_bytes, body_crc, end)
        file.seek(end)


def encode_record(record: Record) -> bytes:
    """One record as bytes."""
    entry = record.entry
    fields: dict[str, Any] = {"item": entry.item, "score": entry.score, "reason": entry.reason}
    fields |= {"meta": record.meta, "label": record.label, "sizes": [len(blob) for blob in record.blobs]}
    return encode(RECORD, fields, b"".join(record.blobs))


def encode_seal(records: int, sha256: str) -> bytes:
    """The seal of a log of so many records."""
    return encode(SEAL, {"records": records, "sha256": sha256})


def encode(magic: bytes, fields: dict[str, Any], body: bytes = b"") -> bytes:
    """An opening, record or seal."""
    head = json.dumps(fields, separators=(",", ":")).encode()  # ASCII: file names may not be UTF-8
    return PREFIX.pack(magic, len(head), len(body), zlib.crc32(head), zlib.crc32(body)) + head + body


def split_blobs(body: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The blobs, one after the other."""
    start = 0
    for size in sizes:
        yield body[start : start + size]
        start += size
