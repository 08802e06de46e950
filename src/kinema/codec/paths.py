"""Where results may go: refused before any work is done, not after it."""

from pathlib import Path

from kinema.errors import ConfigError, FileError

KIN_SUFFIXES = (".kin",)


def check_target(source: str, target: str, suffixes: tuple[str, ...]) -> None:
    """Refuse a target that cannot be meant.

    Args:
        source: what is read; "-" for standard input.
        target: what is to be written; "-" for standard output.
        suffixes: what the name of a target may end in.

    Raises:
        ConfigError: its name has another ending.
        FileError: it is the source, or a folder, or in none.
    """
    if target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise FileError(f"{target} is a folder, expected the name of a file")
    if path.suffix.lower() not in suffixes:
        found = path.suffix or "nothing"
        raise ConfigError(f"{target}: ends in {found}, expected {' '.join(suffixes)}")
    if source != "-" and path.exists() and Path(source).exists() and path.samefile(source):
        raise FileError(f"{target}: source and target are the same file")
    if not path.parent.is_dir():
        raise FileError(f"{target}: the folder {path.parent} does not exist")


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unasked.

    Raises:
        FileError: it exists.
    """
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; overwriting it was not asked for")
