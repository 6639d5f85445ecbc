"""What a reader must survive: files cut short anywhere, and any bit flipped."""

from __future__ import annotations

from shardpack.errors import ShardpackError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, importer_of
from shardpack.storage.open import open_store


def all_rows(source):
    """Return the rows of all units."""
    return [row for unit in range(len(source.units)) for row in source.rows(unit, 0, source.units[unit].num_rows)]


def opened(path, name, **options):
    """Return the rows of files, whatever detection thinks of them."""
    return importer_of(name).open(find_files(path), FormatOptions(**options))


def survives(name, files, damaged, *, stride=1, **options):
    """Read a file cut short at every offset, and with each bit flipped; anything but our errors is one of the test.

    Args:
        name: The format.
        files: Name -> bytes of all files.
        damaged: The name of the one that is damaged.
        stride: Damage every so manyth offset alone: of a file that is mostly padding.
        options: Of the format.

    Returns:
        How many of the damaged files were read without an error or a bad row.
    """
    store = open_store(f"memory://damage/{name}")
    for other, data in files.items():
        store.put(other, data)
    whole, good = files[damaged], 0
    variants = [whole[:stop] for stop in range(0, len(whole), stride)]
    for at in range(0, len(whole), stride):
        for bit in range(0, 8, 1 if len(whole) < 300 else 3):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            variants.append(bytes(changed))
    for data in variants:
        store.put(damaged, data)
        try:
            rows = all_rows(opened(f"memory://damage/{name}", name, **options))
        except ShardpackError:
            continue
        good += all(hasattr(row, "key") for row in rows)
    return good
