"""`lehr completion bash|zsh`: prints what makes the shell complete commands, groups, choices and keys."""

from __future__ import annotations

import os
import sys

from lehr.cli.main import COMMANDS

_BASH = r"""_lehr_complete() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($(compgen -o nospace -W "$(lehr completion query "$COMP_LINE" 2>/dev/null)" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _lehr_complete lehr
"""
_ZSH = "autoload -Uz +X compinit bashcompinit && compinit && bashcompinit\n" + _BASH


def main(argv: list[str]) -> int:
    """Print the script of a shell; or, for the script, what may come next on a line."""
    if argv[:1] == ["query"]:
        print(" ".join(_query(argv[1] if len(argv) > 1 else "")))
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
    """What may complete the last word of `line`, as typed so far."""
    words = line.split()
    if len(words) + line.endswith(" ") <= 2:
        typed = words[1] if len(words) > 1 else ""
        return [command for command in COMMANDS if command.startswith(typed)]
    command = words[1]
    if command == "completion":
        return ["bash", "zsh"]
    if command not in ("train", "sample"):
        return []
    from lehr.cli.train import _refuse_to_run, run_hydra

    # Hydra completes the line of an application that is called by one word
    os.environ["COMP_LINE"] = "lehr " + line.split(None, 2)[2] if len(words) > 2 else "lehr "
    run_hydra(["-sc", "query=bash"], None, _refuse_to_run, command)
    return []
