"""Finished chunks of an encoding on disk, beside its target, so that it can be taken up again."""

import contextlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Self, TypeAlias

from kinema.errors import ConfigError, FileError
from kinema.video.frame import Note

Value: TypeAlias = str | int | float | bool | None
Facts: TypeAlias = dict[str, object]  # what is known of a chunk; JSON can hold it
_MANIFEST, _LOCK = "manifest.json", "lock"
_OURS = ("*.kin", "*.json", "*.input", ".kinema-*.part")


def folder_beside(target: Path) -> Path:
    """Where the chunks of a file in the making lie."""
    return target.with_name(f".{target.name}.chunks")


class ChunkStore:
    """The folder of one encoding; a context manager.

    Leaving it with an error keeps the folder, if that is wanted and it holds a finished chunk.

    Args:
        target: of the encoding.
        manifest: everything that the bytes of its chunks depend on.
        resume: whether to go on with what is there.
        keep: whether an error leaves what is there.
        note: told what is found there, and what stays.

    Raises (constructor and methods):
        ConfigError: another process is at work there, or the chunks there are of another encoding.
        FileError: the folder cannot be made or written.
    """

    def __init__(
        self,
        target: Path,
        manifest: Mapping[str, Value],
        *,
        resume: bool,
        keep: bool = True,
        note: Note,
    ) -> None:
        self.folder = folder_beside(target)
        self._note, self._keep = note, keep
        self._is_complete = False
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock: BinaryIO | None = _locked(self.folder / _LOCK)
            found = self._found()
            if found and resume:
                self._check(found, dict(manifest))
                note(f"{len(self._finished())} finished chunks found in {self.folder}")
            else:
                if self._finished():
                    note(f"{len(self._finished())} chunks of an unfinished encoding discarded")
                self._clear()
                _write(self.folder / _MANIFEST, manifest)
        except OSError as error:
            raise FileError(f"{self.folder}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exit_info: object) -> None:
        with contextlib.suppress(OSError):
            self._leave()

    def complete(self) -> None:
        """Tell that the chunks are of no more use."""
        self._is_complete = True

    def path(self, number: int) -> Path:
        """Where the coded packets of a chunk belong."""
        return self.folder / f"{number:06d}.kin"

    def input_path(self, number: int) -> Path:
        """Where the frames of a chunk wait for a worker."""
        return self.folder / f"{number:06d}.input"

    def finish(self, number: int, facts: Facts) -> None:
        """Note that a chunk is finished; the file of its packets must be there."""
        path = self.path(number)
        try:
            _write(path.with_suffix(".json"), {**facts, "crc": zlib.crc32(path.read_bytes())})
        except OSError as error:
            raise FileError(f"{path}: cannot be kept ({error.strerror})") from error

    def facts(self, number: int) -> Facts | None:
        """What is known of a finished chunk; None if it is not finished, or not sound."""
        path = self.path(number)
        try:
            facts = json.loads(path.with_suffix(".json").read_text())
            is_sound = isinstance(facts, dict) and facts["crc"] == zlib.crc32(path.read_bytes())
        except (OSError, ValueError, KeyError):
            return None
        return facts if is_sound else None

    def _found(self) -> dict[str, Value]:
        """The manifest of earlier work; empty if there is none."""
        try:
            found = json.loads((self.folder / _MANIFEST).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _check(self, found: dict[str, Value], wanted: dict[str, Value]) -> None:
        for key in wanted:
            if found.get(key) != wanted[key]:
                raise ConfigError(
                    f"cannot resume: {self.folder} was begun with {key} {found.get(key)}, not "
                    f"{wanted[key]}; without --resume the encoding starts afresh"
                )

    def _finished(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if path.name != _MANIFEST]

    def _leave(self) -> None:
        for path in (*self.folder.glob("*.input"), *self.folder.glob(".kinema-*.part")):
            path.unlink()
        count = len(self._finished())
        if not self._is_complete and self._keep and count:
            self._note(f"{count} finished chunks stay in {self.folder}; --resume goes on with them")
            self._unlock()
            return
        self._clear()
        self._unlock()
        (self.folder / _LOCK).unlink()
        self.folder.rmdir()

    def _clear(self) -> None:
        for pattern in _OURS:
            for path in self.folder.glob(pattern):
                path.unlink()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()


def _locked(path: Path) -> BinaryIO:
    """Open a file that no other process has; it is free again when this process ends.

    Raises:
        ConfigError: another one has it.
    """
    file = path.open("ab")
    try:
        import fcntl
    except ImportError:  # Windows, which does not delete a folder under another process
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigError(f"{path.parent}: another process is at work on this target") from error
    return file


def _write(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON; the file appears complete or not at all."""
    temporary = path.with_name(f".kinema-{path.name}.part")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
