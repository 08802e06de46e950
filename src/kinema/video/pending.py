"""What is written appears complete or not at all: under a temporary name first, then renamed."""

import os
import shutil
from pathlib import Path
from typing import Protocol

from kinema.errors import FileError


class Replacement(Protocol):
    """Something in the making."""

    path: Path  # where it is written, in the folder of the target

    def commit(self) -> None:
        """Give it its name."""

    def discard(self) -> None:
        """Remove what was written."""


class PendingFile:
    """One file in the making.

    Raises:
        FileError: the target exists and may not be replaced, or cannot exist.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        _check(target, target, overwrite=overwrite)
        self._target = target
        self.path = _temporary(target)

    def commit(self) -> None:
        """Give the file its name."""
        self.path.replace(self._target)

    def discard(self) -> None:
        """Remove what was written."""
        self.path.unlink(missing_ok=True)


class PendingFolder:
    """Files in the making, in a temporary folder that the writer makes.

    Args:
        target: names the files; they appear in its folder.
        first: the path of the first of them.
        overwrite: whether it may be replaced.

    Raises:
        FileError: the first file exists and may not be replaced, or cannot exist.
    """

    def __init__(self, target: Path, first: Path, *, overwrite: bool) -> None:
        _check(target, first, overwrite=overwrite)
        self._folder = target.parent
        self.path = _temporary(target)

    def commit(self) -> None:
        """Move the files to where they belong."""
        for path in sorted(self.path.iterdir()):
            path.replace(self._folder / path.name)
        self.path.rmdir()

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.path, ignore_errors=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.part")


def _check(target: Path, file: Path, *, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise FileError(f"{target}: the folder {target.parent} does not exist")
    if file.is_dir():
        raise FileError(f"{target}: {file} is a folder")
    if file.exists() and not overwrite:
        raise FileError(f"{target}: {file.name} exists already, and overwriting was not asked for")
