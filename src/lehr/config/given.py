"""Objects that a program gives in place of the name of a component, and what stands for them in a configuration.

There is their type, and a digest of what they hold, by which they are known again; it cannot give them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

Given = Mapping[str, object]
"""What was given, by the group that it stands in for, as `lehr.run.objects.given_objects` has it."""
NOTHING: Given = MappingProxyType({})
STAND_INS = {
    "data": ("lehr.data.GivenImages", "lehr.data.GivenDataModule"),
    "model": ("lehr.models.GivenModule",),
}
"""Group -> the classes that stand for what was given."""
_CHOICES = ("given", "given_module")
"""The files of these groups that name them. They are for `lehr.train`, and of no use on a command line."""
_KIND = {"data": ("data=images", "images"), "model": ("model=module", "module")}
_INSTEAD = {
    "data": "here say data=arrays data.path=FILE, or data=images data.path=FOLDER",
    "model": "here say model=mlp, or model._target_=PACKAGE.CLASS trust=[PACKAGE]",
}


def named(group: str, choices: Iterable[str]) -> list[str]:
    """Those of the choices of a group that a command line may name: what has to be given is not among them."""
    return [choice for choice in choices if group not in STAND_INS or choice not in _CHOICES]


def stands_in(config: Mapping[str, Any], group: str) -> bool:
    """Whether the configuration of a run says that its data, or its model, were given."""
    node = config.get(group)
    return isinstance(node, Mapping) and node.get("_target_") in STAND_INS[group]


def with_stubs(values: Mapping[str, Any], given: Given) -> dict[str, Any]:
    """Values in which what is given has a digest already: it gets its own when all others are right."""
    stubs = {group: {**values[group], "digest": "-"} for group in given if isinstance(values.get(group), Mapping)}
    return {**values, **stubs}


def nothing_given(group: str, node: Mapping[str, Any]) -> str | None:
    """What is wrong with a section that stands for something given, if nothing was."""
    if node.get("_target_") not in STAND_INS.get(group, ()) or node.get("digest") is not None:
        return None
    argument, what = _KIND[group]
    return f"{group}: nothing is given; lehr.train({argument}) in Python takes your own {what}; {_INSTEAD[group]}"


def not_here(group: str, place: object = "DIR") -> str:
    """What there is to say where what was given to the run in `place` is needed and is not there."""
    argument, what = _KIND[group]
    here = repr(str(place))
    return (
        f"{group}: this run was given its {what} from Python, which its configuration does not hold: "
        f"lehr.train(resume={here}, {argument}) goes on with it, lehr.load({here}, {argument}) evaluates it"
    )


def not_asked_for(group: str, config: Mapping[str, Any]) -> str:
    """What there is to say where something is given that the run of this configuration was not given."""
    return f"{group}: the run has its own, {config[group].get('_target_')}; leave {_KIND[group][0]} out"


def type_name(given: object) -> str:
    """The full name of the class of an object."""
    cls = type(given)
    return f"{cls.__module__}.{cls.__qualname__}"
