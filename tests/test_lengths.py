"""No file is too long to be read in one go, and no function to be seen at once."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES_OF_A_FILE = 350
MOST_LINES_OF_A_FUNCTION = 60
"""From its `def` on: the table of a parametrized test is data."""


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """name -> text of every Python file that git knows."""
    command = ["git", "ls-files", "-z", "--", "src/*.py", "tests/*.py", "scripts/*.py"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout of git, or there is no git")
    names = [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    assert Path(__file__).relative_to(ROOT).as_posix() in names
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in names}


def functions(text: str) -> dict[str, int]:
    """`line name` -> number of lines of each function, also of one within another or in a class."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {f"{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes}


def test_no_file_is_too_long(sources):
    lengths = {name: len(text.splitlines()) for name, text in sources.items()}
    too_long = [f"{name}: {n} lines" for name, n in lengths.items() if n > MOST_LINES_OF_A_FILE]
    assert not too_long, f"a file has at most {MOST_LINES_OF_A_FILE}:\n" + "\n".join(too_long)


def test_no_function_is_too_long(sources):
    lengths = {f"{name}:{where}": n for name, text in sources.items() for where, n in functions(text).items()}
    too_long = [f"{where}: {n} lines" for where, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION]
    assert not too_long, f"a function has at most {MOST_LINES_OF_A_FUNCTION}:\n" + "\n".join(too_long)
