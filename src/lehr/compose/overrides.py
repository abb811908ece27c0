"""What was typed, override by override: read, and checked by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Quote, QuotedString, RangeSweep, ValueType
from hydra.errors import HydraException

from lehr.config.given import named
from lehr.config.problems import did_you_mean, nearest
from lehr.config.registry import GROUPS

_EXTRAS = {"hydra/launcher": {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}}
"""Choices that plugins of Hydra bring, and which extra of lehr brings the plugin."""
_WITH_KEYS = {*GROUPS, "trainer"}
_ONE_CHOICE = _WITH_KEYS - {
    name for name, group in GROUPS.items() if group.several
}  # groups of which a list of choices means nothing
_LITERAL = ("dir", "out", "resume", "run", "hydra.run.dir", "hydra.sweep.dir")
_NESTED = set("'\"[{($")
_WITHOUT_EFFECT = {
    "hydra.job.chdir": "lehr works where it was started",
    "hydra.output_subdir": "a run directory holds its config.yaml, and nothing of Hydra's",
    "hydra.mode": "-m makes a sweep",
}
_WITHOUT_EFFECT_ON_MANY = {
    "hydra.sweep.subdir": "a run of a sweep is named after what is swept",
    "hydra.run.dir": "it is of a single run; hydra.sweep.dir says where a sweep lies",
}
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def literal(text: str) -> str:
    """An override as Hydra reads it: a run or a sweep directory is taken as typed, whatever Hydra makes of `=` and `,`.

    What is quoted, refers to another key (`${...}`) or is null stays so. A value of any key, or one of several, may
    begin with `~`, which Hydra does not read.
    """
    key, _, value = text.partition("=")
    several = value.split(",")
    if key.lstrip("+") not in _LITERAL and any(one.startswith("~") for one in several) and not _NESTED & set(value):
        return f"{key}={','.join(_quoted(one) if one.startswith('~') else one for one in several)}"
    if (
        key.lstrip("+") not in _LITERAL
        or not value.strip()
        or value == "null"
        or "${" in value
        or _QUOTED.fullmatch(value)
    ):
        return text
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.single).with_quotes()


def notes(texts: Iterable[str], multirun: bool) -> list[str]:
    """One line for each override that Hydra accepts and lehr makes nothing of."""
    reasons = _WITHOUT_EFFECT | (_WITHOUT_EFFECT_ON_MANY if multirun else {})
    keys = dict.fromkeys(text.partition("=")[0].lstrip("+~") for text in texts)
    return [f"note: {key} has no effect: {reasons[key]}" for key in keys if key in reasons]


def parsed(texts: Iterable[str], multirun: bool, search: bool = False) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and one line for each that cannot, or has several values outside of a sweep.

    Only a search may have an interval.
    """
    parser, overrides, problems = OverridesParser.create(), [], []
    for text in texts:
        key, equals, _ = text.partition("=")
        quoted = f"if the value is one string, quote it twice: {key}=\"'...'\""
        try:
            override = parser.parse_override(literal(text))
        except HydraException as error:
            if equals and key == key.strip():
                reason = str(error).splitlines()[0].partition(" expecting ")[0]
                problems.append(f"{text}: cannot be read ({reason}); {quoted}")
            else:
                problems.append(f"{text}: is not key=value")
            continue
        override.input_line = text
        if not override.key_or_group:
            problems.append(f"{text}: is not key=value")
        elif override.is_sweep_override() and not multirun:
            problems.append(f"{text}: has several values; for one run each, add -m; for a list, write [a,b]; {quoted}")
        elif override.value_type == ValueType.GLOB_CHOICE_SWEEP or (override.is_interval_sweep() and not search):
            problems.append(to_write_out(override))
        elif isinstance(value := override.value(), RangeSweep) and not value.step:
            problems.append(f"{text}: a range needs a step that is not 0")
        elif override.is_discrete_sweep() and not any(True for _ in override.sweep_string_iterator()):
            problems.append(f"{text}: has no values")
        else:
            overrides.append(override)
    return overrides, problems


def to_write_out(override: Override) -> str:
    """What is wrong with values that are not listed."""
    key = (override.input_line or "").partition("=")[0]
    return f"{override.input_line}: write out the values, as in {key}=a,b or {key}=range(1,5)"


def line(override: Override) -> str:
    """The override as Hydra reads it; of a sweep its first value."""
    text = literal(override.input_line or "")
    if override.is_sweep_override():
        value = override.value()
        first = value.start if isinstance(value, IntervalSweep) else next(iter(override.sweep_string_iterator()))
        return f"{text.partition('=')[0]}={first}"
    return text


def choice_problems(override: Override, options: list[str], defaults: dict[str, Any]) -> list[str]:
    """What is wrong with the choice for a group; `defaults` holds the groups that have one, and which."""
    group, text = override.key_or_group, override.input_line or ""
    if override.is_delete() and not isinstance(override.value(), str | None):
        return [f"{text}: to leave out a group, say ~{group} alone"]
    if override.is_delete():
        return []
    if override.package:
        is_choice = override.is_sweep_override() or isinstance(override.value(), str | list)
        return [] if is_choice else [f"{text}: must be the name of a choice"]
    if group not in defaults and not override.is_add():
        if all(name.startswith("hydra/") for name in defaults):
            return [f"{group}: unknown key"]
        return [f"{text}: {group} has no default to replace; say +{text}"]
    if group in defaults and (override.is_add() or override.is_force_add()):
        return [f"{text}: {group} has a choice already; say {text.lstrip('+')}"]
    if override.is_interval_sweep():
        return [to_write_out(override)]
    sweep = override.is_sweep_override()
    problems = []
    for value in override.sweep_string_iterator() if sweep else [override.value()]:
        if value in (None, "null") and defaults.get(group) is None:
            problems.append(f"{group}=null: leave {group} out, there is none by default")
            continue
        choices = value if isinstance(value, list) and group not in _ONE_CHOICE else [value]
        for choice in choices:
            if not isinstance(choice, str):
                shown = "null" if choice is None else choice
                names = ", ".join(named(group, options))
                how = f"; its keys are set as {group}.KEY" if group in _WITH_KEYS else ""
                problems.append(f"{group}={shown}: must be one of {names}{how}")
            elif choice not in options:
                extras = _EXTRAS.get(group, {})
                if choice in extras:
                    problems.append(f"{group}={choice}: is not installed; pip install 'lehr[{extras[choice]}]'")
                else:
                    hint = did_you_mean(choice, {*named(group, options), *extras})
                    problems.append(f"{group}={choice}: there is no such choice{hint}")
    return problems


def left_out(key: str, known: set[str], options: Callable[[str], list[str]]) -> str | None:
    """What there is to say of a key of a component that could be one of several of its group, and is none of them."""
    group, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if group not in GROUPS or not GROUPS[group].several or f"{group}.{name}" in known or name not in options(group):
        return None
    there = [one for one in options(group) if f"{group}.{one}" in known]
    choice = f"[{','.join([*there, name])}]" if there else name
    return f"there is no {group}.{name} without {group}={choice}"


def meant(key: str, known: set[str]) -> str:
    """`; did you mean X?` for an unknown key: the same word elsewhere, or a similar one, in its section first."""
    section, _, word = key.replace("/", ".").rpartition(".")
    if same := sorted(name for name in known if name.rpartition(".")[2] == word):
        return f"; did you mean {' or '.join(same)}?"
    siblings = {name for name in known if section and name.startswith(f"{section}.")}
    if siblings and (hint := did_you_mean(key, siblings)):
        return hint
    words = {name.rpartition(".")[2]: name for name in known}
    match = nearest(key, known) or words.get(nearest(word, words) or "")
    return f"; did you mean {match}?" if match else ""
