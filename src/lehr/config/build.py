"""From a node of the configuration to the object it names. Only classes, only of allowed packages."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from lehr.config.problems import did_you_mean, section_problems
from lehr.config.registry import ALLOWED_PACKAGES, GROUPS
from lehr.config.schema import schema_of, schema_of_class
from lehr.config.signature import REQUIRED, Signature, signature_in_source, signature_of
from lehr.errors import ConfigError, in_a_line

T = TypeVar("T")


def find_class(
    target: str, base: Callable[..., T], trust: Iterable[str] = (), key: str = "_target_"
) -> Callable[..., T]:
    """The class that `target` names: a subclass of `base`, defined in an allowed package.

    Raises:
        ConfigError: for anything else; nothing of another package is imported.
    """
    allowed = (*ALLOWED_PACKAGES, *trust)
    module_name, _, name = target.rpartition(".")
    if module_name.partition(".")[0] not in allowed:
        raise ConfigError(f"{key}={target}: only classes of {', '.join(allowed)} are built; add yours with trust=[...]")
    if module_name.endswith("__main__"):
        raise ConfigError(f"{key}={target}: {module_name} is a program, not a module")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}={target}: there is no such class ({error})") from error
    except Exception as error:
        raise ConfigError(f"{key}={target}: {module_name} cannot be imported ({in_a_line(error)})") from error
    # an allowed package's namespace also holds other people's names (torch.os, ...): those are not its classes
    if not inspect.isclass(found) or found.__module__.partition(".")[0] not in allowed:
        raise ConfigError(f"{key}={target}: is not a class of {', '.join(allowed)}")
    assert inspect.isclass(base)
    accepts = getattr(base, "accepts", None)  # a base may take other classes than those below it
    if not (issubclass(found, base) or (accepts and accepts(found))):
        other = f", or {vars(base)['accepted']}" if "accepted" in vars(base) else ""
        raise ConfigError(f"{key}={target}: must be a subclass of {base.__module__}.{base.__qualname__}{other}")
    return cast("Callable[..., T]", found)


def base_of(group: str) -> type:
    """The class that all classes of a group are subclasses of; imports it."""
    module, _, name = GROUPS[group].base.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert inspect.isclass(found)
    return found


def signature(group: str, target: str, trust: Iterable[str] = ()) -> Signature:
    """What a class of a group takes and declares; only one that is not shipped is imported.

    Raises:
        ConfigError: if the class may not be built.
    """
    if schema_of(group, target):
        found = signature_in_source(GROUPS[group].described.get(target, target))
        assert found is not None
        return found
    return signature_of(find_class(target, base_of(group), trust, f"{group}._target_"))


def class_problems(group: str, key: str, node: Mapping[str, Any], trust: Iterable[str]) -> list[str]:
    """One line for each reason why a component whose class is not shipped cannot be built of its values."""
    target = node["_target_"]
    try:
        cls = find_class(target, base_of(group), trust, f"{key}._target_")
    except ConfigError as error:
        return list(error.problems)
    return section_problems(schema_of_class(group, target, cls), node, key)


def checked_class(
    node: Mapping[str, Any], base: Callable[..., T], *, key: str, trust: Iterable[str] = (), given: Iterable[str] = ()
) -> Callable[..., T]:
    """The class that `node["_target_"]` names, which takes the other values of `node` and those `given` by code.

    Args:
        node: the component's part of the configuration, plain values only.
        base: what the class must be a subclass of.
        key: where the node stands in the configuration, for messages.
        trust: packages beyond `ALLOWED_PACKAGES` whose classes may be built.
        given: names of arguments that do not come from the configuration.

    Raises:
        ConfigError: one line for each value that the class does not take, or needs and does not get.
    """
    target = str(node["_target_"])
    cls = find_class(target, base, trust, f"{key}._target_")
    found = signature_of(cast(type, cls))
    given, values, named = set(given), set(node) - {"_target_"}, set(found.parameters)
    problems = [
        f"{key}.{name}: is missing; {target} needs it"
        for name, parameter in found.parameters.items()
        if name not in values | given and parameter.default is REQUIRED
    ]
    if not found.takes_more:
        problems += [
            f"{key}.{name}: unknown key of {target}{did_you_mean(name, named - given)}"
            for name in node
            if name in values - named
        ]
    if problems:
        raise ConfigError(*problems)
    return cls


def build(node: Mapping[str, Any], base: Callable[..., T], *, key: str, trust: Iterable[str] = (), **given: Any) -> T:
    """An instance of the class that `node["_target_"]` names, of the other values of `node` and what is `given`.

    A class need not take what is given. One below `base` that hands on what else it gets names what it wants of it.

    Args: as of `checked_class`, with the values of what is given.

    Raises:
        ConfigError: if the class may not be built or does not take these values.
    """
    cls = checked_class(node, base, key=key, trust=trust, given=given)
    found = signature_of(cast(type, cls))
    is_below = inspect.isclass(base) and inspect.isclass(cls) and issubclass(cls, base)
    wants_all = found.takes_more and not is_below
    given = {name: value for name, value in given.items() if wants_all or name in found.parameters}
    try:
        return cls(**given, **{name: value for name, value in node.items() if name != "_target_"})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {node['_target_']} refused its values: {error}") from error
