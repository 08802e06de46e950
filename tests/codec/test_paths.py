"""Targets that cannot be meant are refused; those that can are not."""

import pytest

from kinema.codec.paths import check_free, check_target
from kinema.errors import ConfigError, FileError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.kin").write_bytes(b"a")
    (tmp_path / "link.kin").symlink_to("a.kin")
    (tmp_path / "folder.kin").mkdir()
    return tmp_path


@pytest.mark.parametrize("target", ["-", "b.kin", "B.KIN", "./b.kin", "folder.kin/b.kin"])
def test_what_can_be_meant(folder, target):
    check_target("a.kin", target, (".kin",))
    check_target("-", target, (".kin",))


@pytest.mark.parametrize("target", ["a.kin", "./a.kin", "link.kin"])
def test_the_source_itself_is_refused_under_any_name(folder, target):
    with pytest.raises(FileError, match="same file"):
        check_target("a.kin", target, (".kin",))


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("b", ConfigError, "ends in nothing"),
        ("b.mp4", ConfigError, r"ends in \.mp4, expected \.kin"),
        (".kin", ConfigError, "ends in nothing"),
        ("", FileError, "is a folder"),
        ("folder.kin", FileError, "is a folder"),
        ("gone/b.kin", FileError, "gone does not exist"),
    ],
)
def test_what_cannot_be_meant(folder, target, error, message):
    with pytest.raises(error, match=message):
        check_target("a.kin", target, (".kin",))


def test_existing_files_are_replaced_when_asked_for_only(folder):
    check_free(folder / "b.kin", overwrite=False)
    check_free(folder / "a.kin", overwrite=True)
    with pytest.raises(FileError, match="overwriting"):
        check_free(folder / "a.kin", overwrite=False)
