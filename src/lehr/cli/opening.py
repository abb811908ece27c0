"""What is typed after a command, and what is done where that asks for no more than information."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import hydra
from omegaconf import DictConfig

from lehr.cli.ending import report
from lehr.cli.flags import parse
from lehr.compose.composition import VERSION_BASE, register_conf_dir
from lehr.compose.overrides import literal
from lehr.config.registry import conf_dir
from lehr.errors import ConfigError, in_a_line, wants_traceback


@dataclass(frozen=True)
class Typed:
    """What was typed after a command.

    Attributes:
        config: the name of the configuration.
        config_dir: a folder of configuration files of the user's own.
        words: `key=value`.
        places: words that are the names of files, of a command that takes such.
        multirun: whether many runs are asked for.
        inform: shows the configuration, of a command that does so itself; None where that was not asked for.
    """

    config: str
    config_dir: Path | None
    words: list[str]
    places: list[str]
    multirun: bool = False
    inform: Callable[[], int] | None = None


def typed(
    name: str,
    argv: list[str],
    help_text: Callable[[Path | None], str],
    config: str | None = None,
    takes: str | None = None,
    is_place: Callable[[str], bool] = lambda word: False,
) -> Typed | int:
    """What was typed; or the exit code, where help, information or a mistake is all that comes of it.

    Args:
        name: of the command.
        argv: what follows it.
        help_text: of a folder of configuration files of the user's own.
        config: the name of its configuration, if that is another one.
        takes: what it takes at a time, of a command that has no `-m`; None of one that has, which also shows its
            configuration itself.
        is_place: whether a word is the name of a file.
    """
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, name)
    of_command, config_dir = config or name, Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(help_text(config_dir))
        return 0
    places = [word for word in arguments.overrides if is_place(word)]

    def inform() -> int:
        return _run_hydra([word for word in argv if word not in places], config_dir, of_command, name)

    if arguments.hydra_help or arguments.info or (arguments.cfg and takes):
        return inform()
    if arguments.multirun and takes:
        return report([f"-m: lehr {name} takes {takes}"], name)
    words = [word for word in arguments.overrides if word not in places]
    return Typed(
        arguments.config_name or of_command,
        config_dir,
        words,
        places,
        bool(arguments.multirun),
        inform if arguments.cfg else None,
    )


def _refuse_to_run(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked for information only")


def _run_hydra(argv: Sequence[str], config_dir: Path | None, name: str, command: str) -> int:
    """Let Hydra inform of the configuration `name` of a command; the exit code.

    Hydra's own --config-dir comes after the application's folder; the user's is to come first.
    """
    arguments = [literal(word) for word in argv]
    for i, word in enumerate(argv):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            del arguments[i : i + (1 if value else 2)]
            break
    register_conf_dir()
    first = config_dir or conf_dir()
    before, sys.argv = sys.argv, ["lehr", *arguments]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            hydra.main(config_path=str(first.absolute()), config_name=name, version_base=VERSION_BASE)(_refuse_to_run)()
    except SystemExit as stop:
        if stop.code in (None, 0):
            return 0
        words = said.getvalue().partition("\nSet the environment variable")[0].partition("Config search path:")[0]
        if "Traceback (most recent call last)" in words and not wants_traceback():
            words = next((line for line in reversed(words.splitlines()) if line and not line[0].isspace()), words)
        return report([" ".join(words.split()) or str(stop.code)], command)
    except Exception as error:  # Hydra's own command line finds fault with assertions and bare errors
        if wants_traceback():
            traceback.print_exc()
        return report([in_a_line(error)], command)
    finally:
        sys.argv = before
    return 0
