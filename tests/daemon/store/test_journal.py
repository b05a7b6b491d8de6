"""Frames of the journal: bytes come back as they came, and damage is said."""

import zlib

import pytest

from daemon.store.errors import StoreDamagedError
from daemon.store.journal import CODEC, Body, pack, unpack
from tests.daemon.store.nouns import a_body

BODIES = [a_body(1), a_body(2, data=b""), a_body(3, data=bytes(range(256)) * 300, sender="é\x00", alerts=7)]


@pytest.mark.parametrize("bodies", [[], BODIES[:1], BODIES, BODIES * 40])
def test_bodies_are_packed_and_unpacked(bodies: list[Body]) -> None:
    data, raw_bytes = pack(bodies)
    assert list(unpack(CODEC, data)) == bodies
    assert raw_bytes >= sum(len(body.data) for body in bodies)


def test_bodies_alike_take_little_room() -> None:
    body = a_body(1, data=b'{"labels":{"alertname":"DiskFull","instance":"db-1"}}' * 20)
    data, raw_bytes = pack([body] * 50)
    assert len(data) < raw_bytes / 20


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("brotli", pack(BODIES)[0]),
        (CODEC, b"not compressed"),
        (CODEC, pack(BODIES)[0][:-9]),
        (CODEC, zlib.compress(b"\x00\x00\x00\x09[]")),
        (CODEC, zlib.compress(b"\x00\x00\x00\x02[]\x00\x00\x00\x00")),
        (CODEC, zlib.compress(b"\x00\x00\x00\x02{[\x00\x00\x00\x00")),
        (CODEC, zlib.compress(b"\xff\xff\xff\xff")),
        (CODEC, zlib.compress(b"\x00")),
    ],
)
def test_a_damaged_row_is_named_as_one(codec: str, data: bytes) -> None:
    with pytest.raises(StoreDamagedError, match="journal"):
        list(unpack(codec, data))
