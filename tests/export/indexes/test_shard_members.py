"""The members of a shard in the order of its tar, whatever the order of its fields."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from shardpack.export.indexes.shard_members import members_of
from shardpack.index.find import find_tars
from shardpack.index.run import index_in_memory
from shardpack.read.open_dataset import open_shards
from shardpack.storage.memory import MemoryStore
from tests.export.indexes.samples import members
from tests.strategies import examples

SAMPLES = st.lists(
    st.lists(st.sampled_from(["jpg", "json", "a.b", "cls"]), min_size=1, unique=True), min_size=1, max_size=6
)


@examples(40)
@given(SAMPLES, st.integers(0, 3))
def test_as_tarfile_reads_them(samples, loose):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, fields in enumerate(samples):
            names = [f"{number}.{field}" for field in fields] + ["no field"] * (number == loose)
            for size, name in enumerate(names):
                info = tarfile.TarInfo(name)
                info.size = 200 * size
                archive.addfile(info, io.BytesIO(bytes(info.size)))
    store = index_in_memory(find_tars(MemoryStore({"x.tar": buffer.getvalue()})), ignore=[])
    found = members_of(open_shards(store).get(0).index, "x.tar")
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        judged = [one for one in archive.getmembers() if "." in one.name]
        end = archive.offset
    assert found.names == [one.name for one in judged]
    assert found.header_offset.tolist() == [one.offset for one in judged]
    assert found.data_offset.tolist() == [one.offset_data for one in judged]
    assert found.size.tolist() == [one.size for one in judged]
    assert found.fields() == [field for fields in samples for field in fields]
    assert found.row.tolist() == [number for number, fields in enumerate(samples) for _ in fields]
    assert found.sample_starts()[-1] == found.end_of_data == end
    assert found.num_samples == len(samples)


def test_of_packed_shards(ds):
    shard = ds.stream_input().cache.get(1)
    found = members_of(shard.index, "shard-000001.tar")
    judged = members(f"{ds.location}/shard-000001.tar")
    assert found.names == [one.name for one in judged]
    assert found.header_offset.tolist() == [one.offset for one in judged]
