"""What is typed behind commands that look at directories: names of these, and key=value.

They are taken as they are typed: names of runs have `=` and `,` in them, which Hydra would read. Hydra is not even
imported, so that such commands answer at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lehr.config.problems import section_problems
from lehr.config.schema import Section
from lehr.paths import expanded


def sorted_out(
    argv: Iterable[str], command: str, schema: type[Section], defaults: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """The directories, the value of every key, and a line for each word or value that is not allowed.

    Args:
        argv: the words.
        command: its name.
        schema: what values may be.
        defaults: of every key. Lists and truths are read by the type that the schema has.
    """
    values, problems, directories = dict(defaults), [], []
    for word in argv:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            problems.append(f"{word}: is not a flag of lehr {command}; there is --help")
        elif equals and (key in defaults or not Path(word).is_dir()):
            values[key] = _value(value, str(schema.model_fields[key].annotation) if key in defaults else "", key)
        else:
            directories.append(str(expanded(word)) if word.startswith("~") else word)
    return directories, values, problems + section_problems(schema, values)


def format_of(values: Mapping[str, Any], formats: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The format that `format` or the end of `out` says, None where neither does; and what is wrong with the two.

    Args:
        values: of the keys.
        formats: end of a file's name -> format.
    """
    said, out = values["format"], values["out"]
    if not out:
        return said, []
    found = formats.get(Path(out).suffix.lower())
    if not found:
        return None, [f"out={out}: must end in {', '.join(formats)}"]
    if said not in (None, found):
        return None, [f"format={said}: out={out} is {found}; leave one of them out"]
    return found, []


def _value(text: str, kind: str, key: str) -> Any:
    if text == "null" and "None" in kind:
        return None
    if "list[" in kind:
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        return [item.strip() for item in inner.split(",") if item.strip()]
    if key == "out" and text.startswith("~"):
        return str(expanded(text))
    if "bool" in kind:
        return {"true": True, "false": False}.get(text.lower(), text)
    return int(text) if "int" in kind and text.isdecimal() else text
