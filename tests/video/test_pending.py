import pytest

from kinema.errors import FileError
from kinema.video.pending import PendingFile, PendingFolder


def test_file_gets_its_name_on_commit(tmp_path):
    pending = PendingFile(tmp_path / "a", overwrite=False)
    pending.path.write_text("new")
    assert not (tmp_path / "a").exists()
    pending.commit()
    assert (tmp_path / "a").read_text() == "new"


def test_discarded_file_leaves_the_old_one(tmp_path):
    (tmp_path / "a").write_text("old")
    pending = PendingFile(tmp_path / "a", overwrite=True)
    pending.path.write_text("new")
    pending.discard()
    pending.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_folder_moves_its_files(tmp_path):
    pending = PendingFolder(tmp_path / "f%d", tmp_path / "f1", overwrite=False)
    pending.path.mkdir()
    for name in ("f1", "f2"):
        (pending.path / name).write_text(name)
    pending.commit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f1", "f2"]
    with pytest.raises(FileError, match="f1 exists already"):
        PendingFolder(tmp_path / "f%d", tmp_path / "f1", overwrite=False)


def test_discarded_folder_is_removed(tmp_path):
    pending = PendingFolder(tmp_path / "f%d", tmp_path / "f1", overwrite=False)
    pending.path.mkdir()
    (pending.path / "f1").write_text("")
    pending.discard()
    assert list(tmp_path.iterdir()) == []
