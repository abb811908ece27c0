"""`lehr completion bash|zsh`: prints what makes the shell complete commands, groups, choices, keys and paths."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lehr.cli.main import COMMANDS

_BASH = r"""_lehr_complete() {
    local IFS=$'\n'
    COMPREPLY=($(lehr completion query "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _lehr_complete lehr
"""
_ZSH = "autoload -Uz +X compinit bashcompinit && compinit && bashcompinit\n" + _BASH
_FLAGS = ("--cfg ", "--config-dir ", "--config-name ", "--help ", "--hydra-help ", "--multirun ", "--resolve ")
_PATHS = ("dir", "out", "path", "resume", "root", "run", "test_path")


def main(argv: list[str]) -> int:
    """Print the script of a shell; or, for the script, what may come next on a line."""
    if argv[:1] == ["query"]:
        print("\n".join(_query(argv[1] if len(argv) > 1 else "")))
        return 0
    scripts = {"bash": _BASH, "zsh": _ZSH}
    if argv[:1] == ["--help"] or not argv:
        print('lehr completion bash|zsh: in ~/.bashrc or ~/.zshrc, eval "$(lehr completion bash)"')
        return 0
    if argv[0] not in scripts:
        print(f"lehr completion: {argv[0]!r} is not a shell that is known; there are: bash, zsh", file=sys.stderr)
        return 2
    print(scripts[argv[0]], end="")
    return 0


def _query(line: str) -> list[str]:
    """What may stand in place of the last word of `line`; a word that is whole ends in a space."""
    words = line.split()
    word = "" if line[-1:].isspace() or not words else words.pop()
    if len(words) < 2:
        found: Iterable[str] = [f"{command} " for command in COMMANDS]
    elif words[1] == "completion":
        found = ["bash ", "zsh "]
    elif words[1] in ("train", "data", "sample", "evaluate", "groups", "probe", "compare", "export", "import"):
        found = _FLAGS if word.startswith("-") else _overrides(words[1], words[2:], word)
        if words[1] in ("compare", "import") and "=" not in word:
            found = [*found, *(path.removeprefix("=") for path in _paths("", word))]
    elif words[1] in ("results", "report"):
        found = _of_directories(words[1], word)
    else:
        found = []
    return sorted(candidate for candidate in found if candidate.startswith(word))


def _of_directories(command: str, word: str) -> Iterable[str]:
    """The keys of a command that looks at directories, and the directories that it may be told."""
    from lehr.config.looking import ReportConfig, ResultsConfig
    from lehr.config.words import words_of

    schema = ResultsConfig if command == "results" else ReportConfig
    key, equals, value = word.partition("=")
    if equals and key in schema.model_fields:
        return _values(key, value, words_of(schema), several=False)
    folders = (path.removeprefix("=") for path in _paths("", word) if path.endswith("/"))
    return [*folders, *(f"{name}=" for name in schema.model_fields), "--help "]


def _overrides(name: str, before: list[str], word: str) -> Iterable[str]:
    from lehr.cli.flags import parse
    from lehr.compose.composer import Command, plain, vocabulary
    from lehr.compose.outline import keys
    from lehr.config.exchange import ExportConfig, ImportConfig
    from lehr.config.schema import (
        CompareConfig,
        DescribeConfig,
        EvaluateConfig,
        GroupsConfig,
        ProbeConfig,
        SampleConfig,
        Section,
    )
    from lehr.config.words import component_words, train_words, words_of
    from lehr.errors import ConfigError

    schemas: dict[str, type[Section]] = {
        "data": DescribeConfig,
        "evaluate": EvaluateConfig,
        "export": ExportConfig,
        "groups": GroupsConfig,
        "import": ImportConfig,
        "probe": ProbeConfig,
        "compare": CompareConfig,
        "sample": SampleConfig,
    }
    try:
        flags = parse(before)
    except ConfigError:
        return []
    config_dir = Path(flags.config_dir) if flags.config_dir else None
    many = name == "train" and bool(flags.multirun)
    primary = flags.config_name or ("describe" if name == "data" else name)
    groups, config = vocabulary(Command(primary, config_dir, flags.overrides, many))
    known = [*keys(config), *(["hydra.sweep.dir"] if many else [])]
    key, equals, value = word.partition("=")
    if not equals:
        # a section ends in a dot, and what it holds is offered once it is there
        depth = word.count(".")
        sections = {f"{'.'.join(one.split('.')[: depth + 1])}." for one in known if one.count(".") > depth}
        leaves = {f"{one}=" for one in known if one.count(".") == depth and f"{one}." not in sections}
        return {*sections, *leaves, *(f"{group}=" for group in groups)}
    if name == "train":
        words = train_words(plain(config, resolve=False))
    else:
        words = words_of(schemas[name]) | component_words(plain(config, resolve=False))
    return _values(key, value, groups | words, several=many or key in groups)


def _values(key: str, typed: str, words: Mapping[str, Iterable[str]], several: bool) -> Iterable[str]:
    """Those of a key; of a list, and where there may be `several`, after a comma too."""
    if key in words:
        earlier = typed.rpartition(",")[0]
        if earlier and not (several or earlier.startswith("[")):
            return []
        start = f"{key}={earlier}," if earlier else f"{key}="
        return [f"{start}{word.lstrip('[') if earlier else word}" for word in words[key]]
    return _paths(key, typed) if key.rpartition(".")[2] in _PATHS else []


def _paths(key: str, typed: str) -> Iterable[str]:
    """Files and folders; none whose name would have to be quoted."""
    folder = typed.rpartition("/")[0]
    root = Path(f"{folder}/" if folder or typed.startswith("/") else ".")
    for path in root.iterdir() if root.is_dir() else ():
        if re.fullmatch(r"[A-Za-z0-9_.:-]+", path.name):
            shown = f"{typed[: typed.rfind('/') + 1]}{path.name}"
            yield f"{key}={shown}/" if path.is_dir() else f"{key}={shown}"
