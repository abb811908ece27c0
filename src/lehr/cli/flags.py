"""What is typed besides `key=value`: Hydra's flags, as far as they are lehr's."""

from __future__ import annotations

from argparse import Namespace
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from lehr.compose.composer import at_home
from lehr.errors import ConfigError


def parse(argv: list[str]) -> Namespace:
    """Flags and overrides.

    Raises:
        ConfigError: for a flag that is not known, or not for lehr.
    """
    parser = get_args_parser()
    parser.allow_abbrev = False

    def refuse(message: str) -> NoReturn:
        raise ConfigError(message)

    parser.error = refuse  # type: ignore[method-assign]  # instead of printing how Hydra is used
    arguments = parser.parse_args(argv)
    if arguments.config_dir:
        arguments.config_dir = at_home("--config-dir ", arguments.config_dir)
    if arguments.config_path or arguments.experimental_rerun:
        raise ConfigError("--config-path and --experimental-rerun are not for lehr; there is --config-dir DIR")
    if arguments.shell_completion:
        raise ConfigError("--shell-completion: is not for lehr; there is lehr completion bash|zsh")
    if (arguments.resolve or arguments.package) and not arguments.cfg:
        raise ConfigError(f"{'--resolve' if arguments.resolve else '--package'}: goes with --cfg job")
    if arguments.multirun and arguments.cfg:
        raise ConfigError("-m and --cfg: say only one of them; --cfg shows the configuration of a single run")
    if arguments.multirun and arguments.info:
        raise ConfigError("-m and --info: say only one of them; --info is of a single run")
    return arguments
