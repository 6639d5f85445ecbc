import pytest

from tests.export.datasets import CLASSES, classified, dataset


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """Six images in two classes, in two shards; not to be changed."""
    return dataset(tmp_path_factory.mktemp("pets") / "out", classified(), classes=CLASSES)
