"""Kinds of errors, and bodies that are here already."""

from __future__ import annotations

import pytest

from shardpack.storage.clients.client import ReceivedBody, kind_of_status
from shardpack.storage.protocols import Version


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "refused"), (401, "denied"), (403, "denied"), (404, "missing"), (409, "failed"), (412, "changed"),
        (416, "beyond"), (418, "refused"), (429, "busy"), (500, "failed"), (503, "busy"), (599, "failed"),
    ],
)  # fmt: skip
def test_what_a_status_means(status, kind):
    assert kind_of_status(status) == kind


def test_a_body_that_is_here_comes_in_parts():
    body = ReceivedBody(Version(10, ""), b"abcdef")
    found = bytearray(4)
    assert (body.readinto(memoryview(found)), bytes(found)) == (4, b"abcd")
    assert (body.readinto(memoryview(found)), bytes(found)) == (2, b"efcd")
    assert body.readinto(memoryview(found)) == 0
    body.close()
