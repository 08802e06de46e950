"""What the project promises about itself: sizes, names, numbers, flags, papers in order.

Frozen lists lie beside this file. After a change that is meant, KINEMA_UPDATE=1 writes them anew;
the difference then shows in the commit.
"""

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kinema"
HERE = Path(__file__).parent
MAX_LINES = {"src": 400, "src/kinema/models": 250, "tests": 500, "benchmarks": 400}
MAX_FUNCTION_LINES = 50
MAX_TRACKED_BYTES = 20 * 2**20
JUNK = {"util", "utils", "common", "helper", "helpers", "misc", "stuff", "tools", "lib", "core"}
SUPPRESSION = {
    # A code, and why it does not apply here.
    "noqa": re.compile(r"# noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*\s+(# )?[a-zA-Z]"),
    "type: ignore": re.compile(r"# type: ignore\[[\w-]+(, ?[\w-]+)*\]\s+# ?\w"),
}
OPEN_ENDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATHS = re.compile(
    r"(?<![\w.])(/ho" r"me/|/r" r"oot/|/wo" r"rk/|/Us" r"ers/|[A-Z]:\\Us" r"ers)"
)
MARKDOWN_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


@cache
def tracked() -> list[Path]:
    """Every file that git has, or would take at the next commit."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing tells which files belong to the project")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@cache
def text_of(path: Path) -> str:
    """The file's text; empty for what is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def code_lines(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring; of a command, without its flags either."""
    assert function.end_lineno is not None
    is_command = path.parent == PACKAGE / "cli"
    start = function.body[0].lineno if is_command else function.lineno
    lines = function.end_lineno - start + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def check_frozen(name: str, lines: list[str]) -> None:
    """Compare with the list beside this file; write it when asked to."""
    path = HERE / name
    if os.environ.get("KINEMA_UPDATE") == "1":
        path.write_text("".join(f"{line}\n" for line in lines))
    frozen = path.read_text().splitlines()
    lost, new = sorted(set(frozen) - set(lines)), sorted(set(lines) - set(frozen))
    assert lost + new == [], f"{name}: lost {lost}, new {new}; KINEMA_UPDATE=1 if meant"


def test_files_stay_short():
    too_long = []
    for path in python_files():
        limits = [n for folder, n in MAX_LINES.items() if relative(path).startswith(f"{folder}/")]
        count = len(text_of(path).splitlines())
        if count > min(limits, default=400):
            too_long.append(f"{relative(path)} has {count} lines, at most {min(limits)}")
    assert not too_long


def test_functions_stay_short():
    too_long = [
        f"{relative(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in python_files()
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := code_lines(path, node)) > MAX_FUNCTION_LINES
    ]
    assert not too_long


def test_no_file_is_a_junk_drawer():
    junk = [
        relative(path)
        for path in tracked()
        if any(set(re.split(r"[_\W]+", part)) & JUNK for part in path.relative_to(ROOT).parts)
        or re.search(r"part_?\d", path.stem)
    ]
    assert not junk


def test_architecture_names_every_source_file_and_no_other():
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", text_of(ROOT / "ARCHITECTURE.md"), re.MULTILINE)
    found = [path.relative_to(PACKAGE).as_posix() for path in sources()]
    missing, stale = sorted(set(found) - set(listed)), sorted(set(listed) - set(found))
    assert missing + stale == [], f"ARCHITECTURE.md lacks {missing}, still has {stale}"
    assert len(listed) == len(set(listed)), "ARCHITECTURE.md names a file twice"


def test_rooms_hold_nothing_in_their_init_files():
    """But the command line, which is no room: its file names what is public, as the package's."""
    filled = [
        relative(path)
        for path in PACKAGE.glob("*/__init__.py")
        if path.parent.name != "cli" and len(ast.parse(text_of(path)).body) > 1
    ]
    assert not filled


def test_command_line_is_frozen():
    from typer.main import get_command

    from kinema.cli import app

    lines = []
    for name, command in sorted(get_command(app).commands.items()):
        for parameter in command.params:
            flags = sorted({*parameter.opts, *parameter.secondary_opts})
            shown = ", ".join(flags) if flags[0].startswith("-") else flags[0].upper()
            lines.append(f"{name} {shown}")
    check_frozen("cli_flags.txt", lines)


def test_model_numbers_are_frozen():
    from kinema.models.registry import MODELS

    numbers = [entry.number for entry in MODELS.values()]
    assert len(numbers) == len(set(numbers)), "two models share a number"
    lines = [f"{entry.number} {name}" for name, entry in MODELS.items()]
    check_frozen("model_numbers.txt", sorted(lines))


def test_public_names_are_frozen():
    import kinema

    missing = [name for name in kinema.__all__ if not hasattr(kinema, name)]
    assert not missing
    check_frozen("public_names.txt", sorted(kinema.__all__))


@pytest.mark.parametrize("word", SUPPRESSION)
def test_every_suppressed_check_names_its_code_and_a_reason(word):
    bare = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in python_files()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if f"# {word}" in line and path != Path(__file__) and not SUPPRESSION[word].search(line)
    ]
    assert not bare


@pytest.mark.parametrize("pattern", [OPEN_ENDS, MACHINE_PATHS], ids=["open ends", "paths"])
def test_no_file_holds(pattern):
    found = [
        f"{relative(path)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_the_repository_stays_small():
    total = sum(path.stat().st_size for path in tracked())
    assert total < MAX_TRACKED_BYTES, f"tracked files hold {total / 2**20:.1f} MiB"


def test_documents_name_only_make_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {
        (relative(path), target)
        for path in documents()
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text_of(path), re.MULTILINE)
    }
    assert {"demo", "test"} <= {target for name, target in named if name == "README.md"}
    assert not {(name, target) for name, target in named if target not in targets}


def test_documents_name_only_commands_that_exist():
    from typer.main import get_command

    from kinema.cli import app

    known = set(get_command(app).commands)
    named = {
        (relative(path), command)
        for path in documents()
        for command in re.findall(r"(?:^|`|\$ )kinema ([a-z]+)", text_of(path), re.MULTILINE)
    }
    assert not {(name, command) for name, command in named if command not in known}


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{relative(path)}: {target}"
        for path in documents()
        for target in MARKDOWN_LINK.findall(text_of(path))
        if not (path.parent / target).exists()
    ]
    assert not broken


def test_continuous_integration_calls_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert text_of(script).splitlines()[-1] == "make test"
