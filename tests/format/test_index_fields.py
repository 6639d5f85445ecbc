"""An index of some fields: every member of these, and none of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.index_fields import only_fields
from tests.format.builders import small_shard
from tests.strategies import payloads, safe_fields, safe_keys

MEMBERS = st.dictionaries(safe_keys(), st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3), max_size=5)


@given(MEMBERS.filter(bool), st.data())
def test_an_index_of_some_fields_is_that_without_the_others(samples, data):
    index = small_shard(samples)[1]
    fields = data.draw(st.sets(st.sampled_from(index.fields)))
    found = only_fields(index, {*fields, "other"})
    assert found.fields == tuple(sorted(fields))
    assert (found.keys(), found.num_samples) == (index.keys(), index.num_samples)
    for row in range(index.num_samples):
        mine = [(found.field_of(m), found.data_offset[m], found.size[m], found.crc32c[m]) for m in found.members(row)]
        all_of_them = [
            (index.field_of(m), index.data_offset[m], index.size[m], index.crc32c[m]) for m in index.members(row)
        ]
        assert mine == [member for member in all_of_them if member[0] in fields]
    assert (found is index) == (fields == set(index.fields))
