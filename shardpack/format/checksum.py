"""CRC32C (Castagnoli), the one checksum of the format, at hardware speed (SPEC 1.3).

GCS, S3 and TFRecord use the same polynomial. `crc32c(data, value=0)` takes any C-contiguous
buffer and continues from `value`; it releases the GIL for large buffers.
"""

from __future__ import annotations

from crc32c import crc32c

__all__ = ["crc32c"]
