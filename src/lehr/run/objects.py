"""Objects in place of names: what a program has given a run beside its configuration, "data", "model" or both.

The configuration says what they were, and is not enough to have them back: whoever goes on with the run, evaluates or
loads it gives them once more. They are handed on from function to function; nothing remembers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lehr.config.build import build
from lehr.config.given import NOTHING, Given, not_asked_for, not_here, stands_in
from lehr.data.collecting import handed_data
from lehr.data.given import Handed
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError, DataError, LehrError
from lehr.run.given_model import HandedModule, handed_module, model_problems


def given_objects(
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    model: object = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """What a program gives in place of names, to be handed on beside the configuration; None for what it does not.

    Args:
        data, labels, test, test_labels, progress: see `handed_data`.
        model: a `torch.nn.Module` that `lehr.models.wrap` takes, an `Autoencoder` for one.

    Raises:
        LehrError: a line for each thing that is wrong.
    """
    found: dict[str, object] = {}
    of_model: tuple[str, ...] = ()
    if model is not None:
        try:
            found["model"] = HandedModule(model)
        except ConfigError as error:
            of_model = error.problems
    problems = [*of_model]
    of_data = {"labels": labels, "test": test, "test_labels": test_labels}
    try:
        if data is not None:
            found["data"] = handed_data(data, **of_data, progress=progress)
        else:
            problems += [f"{name}: of which images? give data=... too" for name in of_data if of_data[name] is not None]
    except LehrError as error:
        problems += error.problems
    if problems:
        raise (ConfigError if len(of_model) == len(problems) else DataError)(*problems)
    return found


def choices(given: Given) -> dict[str, str]:
    """Group -> the choice that stands for what is given there."""
    found = {"data": handed(given), "model": handed_module(given)}
    return {group: one.choice for group, one in found.items() if one is not None}


def with_sections(config: Mapping[str, Any], given: Given) -> dict[str, Any]:
    """The configuration of a run as composed with the choices of what is given, and what that is.

    Raises:
        DataError: a line for each thing that is wrong with given images.
    """
    found = dict(config)
    if data := handed(given):
        found["data"] = data.section(config["data"])
    if model := handed_module(given):
        found["model"] = model.section()
    return found


def require_given(config: Mapping[str, Any], given: Given, place: object, anew: bool = False) -> None:
    """Check that what a run was given is there, that it is the same, and that nothing else is given.

    Args:
        config: of the run.
        given: what is given now.
        place: where the run lies.
        anew: whether the run begins, so that the model has to have its first weights; else others are loaded into it.

    Raises:
        LehrError: a line for each thing that is wrong, a `DataError` if some of it are the data.
    """
    of_data, of_model = data_problems(config, given, place), model_problems(config, given, place, anew)
    if of_data or of_model:
        raise (DataError if of_data else ConfigError)(*of_data, *of_model)


def data_problems(config: Mapping[str, Any], given: Given, place: object) -> list[str]:
    """A line for each thing about the data that `require_given` finds wrong."""
    data = handed(given)
    if (data is not None) != stands_in(config, "data"):
        return [not_here("data", place) if data is None else not_asked_for("data", config)]
    try:
        return data.problems(config["data"]) if data else []
    except DataError as error:
        return list(error.problems)


def build_data(config: Mapping[str, Any], trust: Iterable[str] = (), given: Given = NOTHING) -> ImageDataModule:
    """The configured data, not read yet, or those that were given; of them no more than the trainer is to use.

    Raises:
        ConfigError: if the class may not be built, or does not take its values.
        DataError: if they were given, and are not now.
    """
    there = handed(given)
    if there is not None and stands_in(config, "data"):
        data = there.build(config["data"])
    else:
        data = build(config["data"], ImageDataModule, key="data", trust=trust)
    data.use_less(config.get("trainer", {}))
    return data


def handed(given: Given) -> Handed | None:
    """The data that were given, if any."""
    data = given.get("data")
    assert data is None or isinstance(data, Handed)
    return data
