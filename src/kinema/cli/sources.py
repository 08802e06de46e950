"""Several inputs: which videos they mean, and how the files that these become are named."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from kinema.errors import ConfigError, FileError

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".y4m", ".yuv", ".mpg", ".mpeg"),
    *(".ts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".h264", ".h265", ".hevc"),
)
NUMBER = re.compile(r"[-_.]?%0?\d*d")  # in a pattern such as frames-%04d.png


def pair_up(inputs: Sequence[str], target: Path) -> list[tuple[str, Path]]:
    """Find every video among the inputs, and the file that each is to become.

    A folder stands for the video files in it, unless it holds PNG files, which are one video. A
    name with * ? or [ that is no file stands for all files that it matches.

    Args:
        inputs: as `open_video`, and the above.
        target: a file for a single video, or an existing folder for any number.

    Raises:
        ConfigError: several videos and no folder for them, or two of them with one name.
        FileError: an input stands for nothing.
    """
    sources = [source for name in inputs for source in _expand(name)]
    is_several = len(inputs) > 1 or sources != list(inputs)
    if not target.is_dir():
        if is_several:
            raise ConfigError(f"{target}: several inputs need an existing folder to go to")
        return [(sources[0], target)]
    made: dict[Path, str] = {}
    for source in sources:
        path = target / f"{_stem(source)}.kin"
        if path in made:
            raise ConfigError(f"{made[path]} and {source} would both become {path}")
        made[path] = source
    return [(source, path) for path, source in made.items()]


def _expand(name: str) -> list[str]:
    """The videos that one input stands for."""
    path = Path(name)
    if path.is_dir():
        files = sorted(path.iterdir())
        if any(file.suffix.lower() == ".png" for file in files):
            return [name]
        videos = [str(file) for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
        if not videos:
            raise FileError(f"{name}: the folder holds no video and no .png file")
        return videos
    if re.search(r"[*?[]", name) and not path.exists():
        found = sorted(glob.glob(name))  # noqa: PTH207  # the pattern may be absolute
        if not found:
            raise FileError(f"{name}: there are no such files")
        return found
    return [name]


def _stem(source: str) -> str:
    """The name, without its ending, of the file that a video becomes."""
    if source == "-":
        raise ConfigError("-: standard input has no name; give that of a file to be made")
    path = Path(source)
    if path.is_dir():
        return path.resolve().name
    return NUMBER.sub("", path.stem) or path.resolve().parent.name
