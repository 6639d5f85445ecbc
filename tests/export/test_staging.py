"""Files appear in OUT when all are made, and none is deleted that exports do not make."""

from __future__ import annotations

import shutil

import pytest

from shardpack.errors import OutputExistsError
from shardpack.export import staging
from shardpack.export.staging import STAGING_NAME, Staging, refuse_occupied, refuse_own_folder
from tests.export.datasets import files


def made(out, digest="a", *, force=False, names=("x", "y/z")):
    """Make files in a new staging folder; return it, unpublished."""
    staging = Staging(str(out), digest, force=force)
    for name in names:
        with open(staging.paths.files().create(name), "w", encoding="utf-8") as file:
            file.write(digest)
    return staging


def test_nothing_is_in_place_before_it_is_published(tmp_path):
    with made(tmp_path) as staging:
        assert [path.name for path in tmp_path.iterdir()] == [STAGING_NAME]
        assert staging.publish() == 2
    assert files(tmp_path) == {"x": b"a", "y/z": b"a"}


def test_notes_stay_for_the_same_export_only(tmp_path):
    with made(tmp_path) as staging:
        staging.paths.keep_note(3, {"rows": 1})
    with Staging(str(tmp_path), "a", force=False) as staging:
        assert staging.paths.note(3) == {"rows": 1}
        assert staging.paths.note(2) is None
    with Staging(str(tmp_path), "b", force=False) as staging:
        assert staging.paths.note(3) is None
    with Staging(str(tmp_path), "a", force=False) as staging:
        assert staging.paths.note(3) is None


def test_publishing_goes_on_where_it_was_killed(tmp_path):
    (tmp_path / "old").write_text("of before")
    with made(tmp_path, force=True) as staging, pytest.MonkeyPatch.context() as patch:
        rename = __import__("os").rename

        def only_x(source, target):
            if source.endswith("y"):
                raise KeyboardInterrupt
            rename(source, target)

        patch.setattr("os.rename", only_x)
        with pytest.raises(KeyboardInterrupt):
            staging.publish()
    assert "x" in files(tmp_path)
    with Staging(str(tmp_path), "a", force=False) as staging:
        assert staging.is_publishing
        assert staging.publish() == 2
    assert files(tmp_path) == {"x": b"a", "y/z": b"a"}


def test_what_came_while_files_were_made_is_not_deleted(tmp_path):
    with made(tmp_path) as staging:
        (tmp_path / "x").write_text("mine")  # by the name of a file that is made
        with pytest.raises(OutputExistsError, match=r"such as 'x'.*move it away and repeat the call"):
            staging.publish()
    (tmp_path / "x").rename(tmp_path / ".git")
    refused = pytest.raises(OutputExistsError, match=r"holds '.git', so force does not delete it")
    with Staging(str(tmp_path), "a", force=True) as staging, refused:
        staging.publish()
    (tmp_path / ".git").rename(tmp_path / "z")
    with Staging(str(tmp_path), "a", force=True) as staging:
        assert staging.publish() == 2
    assert files(tmp_path) == {"x": b"a", "y/z": b"a"}


def test_what_came_after_a_kill_while_publishing_is_not_deleted(tmp_path, monkeypatch):
    with made(tmp_path) as staging, monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_: exec("raise KeyboardInterrupt"))  # all is moved
        with pytest.raises(KeyboardInterrupt):
            staging.publish()
    (tmp_path / "mine").write_text("")
    refused = pytest.raises(OutputExistsError, match="such as 'mine'")
    with Staging(str(tmp_path), "a", force=False) as staging, refused:
        staging.publish()
    assert {"mine", "x", "y/z"} <= set(files(tmp_path))
    (tmp_path / "mine").unlink()
    with Staging(str(tmp_path), "a", force=False) as staging:
        assert staging.publish() == 2
    assert files(tmp_path) == {"x": b"a", "y/z": b"a"}


def test_a_folder_with_files_is_refused_and_with_force_replaced(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("")
    with pytest.raises(OutputExistsError, match=r"such as 'old'.*--force"):
        made(tmp_path)
    assert files(tmp_path) == {"old/file": b""}
    with made(tmp_path, force=True) as staging:
        staging.publish()
    assert files(tmp_path) == {"x": b"a", "y/z": b"a"}


def test_force_deletes_nothing_hidden(tmp_path):
    (tmp_path / ".git").mkdir()
    with pytest.raises(OutputExistsError, match=r"holds '.git'"):
        refuse_occupied(str(tmp_path), force=True)


def test_force_deletes_no_dataset_and_no_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a" / "ds" / ".shardpack").mkdir(parents=True)
    (tmp_path / "a" / "ds" / ".shardpack" / "manifest.json").write_text("{}")
    with pytest.raises(OutputExistsError, match="holds 'ds', so force does not delete it"):
        refuse_occupied(str(tmp_path / "a"), force=True)
    (tmp_path / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "b" / "c")
    with pytest.raises(OutputExistsError, match="holds the working directory"):
        refuse_occupied(str(tmp_path / "b"), force=True)
    refuse_occupied(str(tmp_path / "b" / "c"), force=True)


def test_a_dataset_is_not_exported_into_itself(tmp_path):
    refuse_own_folder(str(tmp_path / "a"), str(tmp_path / "ab"))
    refuse_own_folder(str(tmp_path / "a"), "s3://bucket/a")
    for out, location in (("a", "a/b"), ("a/b", "a"), ("a", "a/../a")):
        with pytest.raises(OutputExistsError, match="are one in the other"):
            refuse_own_folder(str(tmp_path / out), str(tmp_path / location))


def test_a_dataset_is_not_exported_over_its_tars(tmp_path):
    home, tars = str(tmp_path / "idx"), str(tmp_path / "tars")
    for locations in (["../tars"], [".", tars], [(tmp_path / "tars").as_uri()]):
        refuse_own_folder(str(tmp_path / "tars2"), home, locations)
        for out in ("tars", "tars/below"):
            with pytest.raises(OutputExistsError, match=r"tars in .* are one in the other"):
                refuse_own_folder(str(tmp_path / out), home, locations)
    refuse_own_folder(tars, "s3://bucket/idx", ["../tars", "s3://bucket/tars"])


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputExistsError, match="is a file"):
        refuse_occupied(str(tmp_path / "out"), force=True)


def test_one_export_at_a_time(tmp_path):
    refused = pytest.raises(OutputExistsError, match="another process is exporting")
    with made(tmp_path) as opened, opened.paths.share(), refused:
        made(tmp_path)


def test_a_part_with_few_files_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(staging, "fsync_file", synced.append)
    with Staging(str(tmp_path), "a", force=False) as opened:
        few, many = opened.paths.files(), opened.paths.files()
        paths = [few.create("x"), few.create("y", "z")]
        few.sync()
        for number in range(100):
            many.create(str(number))
        many.sync()
    assert synced == paths
