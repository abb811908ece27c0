"""Hydra: there is one of it in a process. What it makes of the shipped files is kept while these stay as they are."""

from __future__ import annotations

import copy
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from lehr.compose.stamps import Stamps
from lehr.config.registry import conf_dir
from lehr.errors import ConfigError, wants_traceback

VERSION_BASE = "1.3"
_ALONE = threading.RLock()
_COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError, RecursionError)


class ShippedConfiguration(SearchPathPlugin):
    """Puts the shipped configuration at the end of the search path, so that a user's own folder comes first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("lehr", f"file://{conf_dir()}")


def register_conf_dir() -> None:
    """Let Hydra find the shipped configuration, whatever its main folder is."""
    Plugins.instance().register(ShippedConfiguration)


@contextmanager
def of_the_program_kept() -> Iterator[None]:
    """Within the block Hydra, of which there is one in a process, is lehr's alone.

    A program may have several threads, and be one of Hydra's itself.
    """
    with _ALONE:
        hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        register_conf_dir()
        GlobalHydra.instance().hydra = None
        try:
            yield
        finally:
            GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, config


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """What Hydra and OmegaConf find wrong becomes a ConfigError."""
    try:
        yield
    except _COMPOSITION_ERRORS as error:
        if wants_traceback():
            traceback.print_exc()
        raise ConfigError(in_one_line(error)) from error


@contextmanager
def hydra_of(folder: Path) -> Iterator[ConfigLoader]:
    """Within the block Hydra composes what lies in `folder`, and what is shipped.

    Raises:
        ConfigError: for what it finds wrong.
    """
    with (
        of_the_program_kept(),
        told_in_a_line(),
        initialize_config_dir(str(folder.absolute()), job_name="lehr", version_base=VERSION_BASE),
    ):
        yield GlobalHydra.instance().config_loader()


def options_of(folder: Path, group: str, files: Stamps | None) -> list[str]:
    """What a group can be; as of `composition`."""
    return _options(folder, group) if files is None else list(_shipped_options(files, folder, group))


def composition(folder: Path, name: str, lines: tuple[str, ...], files: Stamps | None) -> DictConfig:
    """What Hydra composes of a primary configuration and overrides.

    Args:
        folder: which lies before what is shipped.
        name: of the primary configuration.
        lines: overrides.
        files: of the shipped configuration, where `folder` is that and nothing else.

    Raises:
        ConfigError: for what Hydra finds wrong, and where the working directory is gone.
    """
    if files is None:
        return _composition(folder, name, lines)
    with _ALONE:  # OmegaConf takes what it copies apart meanwhile
        found = copy.deepcopy(_shipped_composition(files, folder, name, lines))
    # of whoever asks, as Hydra says them: the working directory, and the time of day, which is kept from then on
    with told_in_a_line(), read_write(found.hydra):
        found.hydra.runtime.cwd = os.getcwd()
    OmegaConf.clear_cache(found)
    return found


def _options(folder: Path, group: str) -> list[str]:
    with hydra_of(folder) as loader:
        names = loader.get_group_options(group, ObjectType.CONFIG)
    return [name for name in names if not name.startswith("_")]


def _composition(folder: Path, name: str, lines: tuple[str, ...]) -> DictConfig:
    with hydra_of(folder):
        return compose(name, overrides=list(lines), return_hydra_config=True)


@lru_cache(maxsize=256)
def _shipped_options(files: Stamps, folder: Path, group: str) -> list[str]:
    return _options(folder, group)


@lru_cache(maxsize=32)  # of a megabyte each
def _shipped_composition(files: Stamps, folder: Path, name: str, lines: tuple[str, ...]) -> DictConfig:
    return _composition(folder, name, lines)


def in_one_line(error: BaseException) -> str:
    """What Hydra, OmegaConf or the file system says is wrong, in a line."""
    if isinstance(error, UnicodeDecodeError):
        return f"a configuration file is not text ({error})"
    if isinstance(error, RecursionError):
        return "a configuration file includes itself"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    message = (
        f"{error} ({in_one_line(error.__cause__)})"
        if isinstance(error, HydraException) and error.__cause__
        else str(error)
    )
    return " ".join(message.partition("Config search path:")[0].split())
