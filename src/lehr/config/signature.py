"""What a class takes and declares: read from its source without importing it, or asked of the class.

Both give the same. The source is for lehr's own classes, so that a command that only checks what was typed does not
wait for torch; a class of anyone else is imported first.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.abc
import importlib.util
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from lehr.lazy import defined_in
from lehr.limits import Limit
from lehr.needs import Need
from lehr.weights import WeightsFile

REQUIRED: Any = inspect.Parameter.empty
"""Stands for the default of a parameter that has none."""
UNKNOWN: Any = object()
"""Stands for a default that is there and cannot be read from the source."""
_DECLARATIONS: dict[str, Any] = {
    "annealed": str, "files": WeightsFile, "needs": Need, "ordered": Limit, "provides": Need,
}  # fmt: skip
_LIGHT = ("annotated_types", "collections.abc", "lehr.limits", "lehr.needs", "lehr.weights", "pathlib", "typing")
"""Modules that the words of an annotation may be imported from."""


@dataclass(frozen=True)
class Parameter:
    """An argument of a constructor. The annotation of one that is not understood is `Any`."""

    annotation: Any
    default: Any = REQUIRED


@dataclass(frozen=True)
class Signature:
    """What a class takes, by name, and what it declares of itself.

    Attributes:
        parameters: of the constructor, and of those of its bases that it passes the rest on to.
        takes_more: whether it takes any other keyword as well, and does what it likes with it: what a base needs, it
            may give.
        ordered: which of its values limit each other.
        needs: what it cannot do without.
        provides: what others need; None where it does not say.
        annealed: arguments that are those of `lehr.objective.Annealing`.
        files: published weights that it is made of.
    """

    parameters: Mapping[str, Parameter]
    takes_more: bool = False
    ordered: tuple[Limit, ...] = ()
    needs: tuple[Need, ...] = ()
    provides: tuple[Need, ...] | None = None
    annealed: tuple[str, ...] = ()
    files: tuple[WeightsFile, ...] = ()

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values, and the defaults of those that are not among them."""
        defaults = {name: parameter.default for name, parameter in self.parameters.items()}
        return {name: value for name, value in defaults.items() if value is not REQUIRED} | dict(values)


@cache
def signature_in_source(target: str) -> Signature | None:
    """Of a class or function of lehr, by its dotted name; None where there is none."""
    module, _, name = target.rpartition(".")
    found = _find(module, name)
    if found is None:
        return None
    source, node = found
    if isinstance(node, ast.FunctionDef):
        return Signature(dict(source.parameters(node)))
    lineage = list(_lineage(source, node))
    parameters: dict[str, Parameter] = {}
    for one, cls in lineage:
        if any(_name(decorator) == "dataclass" for decorator in cls.decorator_list):
            parameters |= dict(one.fields(cls))
            break
        if init := next((n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None):
            parameters = dict(one.parameters(init)) | parameters
            if not init.args.kwarg:
                break
    declared: dict[str, Any] = {}
    for one, cls in lineage:
        declared = {key: one.evaluate(value, ()) for key, value in _assigned(cls) if key in _DECLARATIONS} | declared
    return Signature(parameters, **declared)


@cache
def signature_of(cls: type) -> Signature:
    """Of a class that is imported."""
    parameters: dict[str, Parameter] = {}
    takes_more = False
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = inspect.signature(vars(base)["__init__"]).parameters
        hints = _hints(base)
        named = {
            name: Parameter(hints.get(name, Any), UNKNOWN if takes_more and p.default is REQUIRED else p.default)
            for name, p in list(own.items())[1:]
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        parameters = named | parameters
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
        takes_more |= not _is_of(base, "lehr", "torch", "lightning", "builtins")
    declared: dict[str, Any] = {}
    for key, kind in _DECLARATIONS.items():
        value = getattr(cls, key, None)
        if isinstance(value, tuple) and all(isinstance(one, kind) for one in value):  # else it is something else
            declared[key] = value
    return Signature(parameters, takes_more, **declared)


def _hints(cls: type) -> dict[str, Any]:
    """The annotations of a constructor; none of another package's, whose own words for its values need not be plain."""
    function = inspect.unwrap(vars(cls)["__init__"])
    found: dict[str, Any] = {}
    if _is_of(cls, "torch", "lightning", "diffusers"):
        return found
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:  # each by itself: one may name what is imported for type checkers alone
            found |= get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)
        except (NameError, TypeError, AttributeError):
            continue
    return found


def _is_of(cls: type, *packages: str) -> bool:
    return cls.__module__.partition(".")[0] in packages


class _Source(Mapping[str, Any]):
    """A module as it is written, and as the place where its annotations are evaluated."""

    def __init__(self, text: str) -> None:
        self.definitions: dict[str, ast.ClassDef | ast.FunctionDef] = {}
        self.aliases: dict[str, ast.expr] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.aliases[node.targets[0].id] = node.value
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imported |= {name.asname or name.name: (node.module, name.name) for name in node.names}

    def __getitem__(self, name: str) -> Any:
        if name in self.aliases:
            return eval(compile(ast.Expression(self.aliases[name]), "", "eval"), _GLOBALS, self)
        module, original = self.imported[name]
        if module in _LIGHT:
            return getattr(importlib.import_module(module), original)
        if module.partition(".")[0] == "lehr" and (source := _source(defined_in(module, original))):
            return source[original]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*self.aliases, *self.imported))

    def __len__(self) -> int:
        return len(self.aliases) + len(self.imported)

    def evaluate(self, node: ast.expr | None, otherwise: Any = Any) -> Any:
        """What an expression comes to; `otherwise` where that takes more than this module's own words."""
        if node is None:
            return otherwise
        try:
            return eval(compile(ast.Expression(node), "", "eval"), _GLOBALS, self)
        except (NameError, KeyError, TypeError):
            return otherwise

    def parameters(self, function: ast.FunctionDef) -> Iterator[tuple[str, Parameter]]:
        """By name; of a method all but the first."""
        args = function.args
        several = [*args.posonlyargs, *args.args]
        defaults: list[ast.expr | None] = [None] * (len(several) - len(args.defaults)) + list(args.defaults)
        for arg, default in zip([*several, *args.kwonlyargs], [*defaults, *args.kw_defaults], strict=True):
            if arg.arg != "self":
                yield arg.arg, self._parameter(arg.annotation, default)

    def fields(self, cls: ast.ClassDef) -> Iterator[tuple[str, Parameter]]:
        """Of a dataclass."""
        for node in cls.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, self._parameter(node.annotation, node.value)

    def _parameter(self, annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
        return Parameter(self.evaluate(annotation), REQUIRED if default is None else self.evaluate(default, UNKNOWN))


_GLOBALS = {"__builtins__": vars(builtins)}


@cache
def _source(module: str) -> _Source | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    text = spec.loader.get_source(module) if spec and isinstance(spec.loader, importlib.abc.InspectLoader) else None
    return None if text is None else _Source(text)


def _find(module: str, name: str) -> tuple[_Source, ast.ClassDef | ast.FunctionDef] | None:
    if module.partition(".")[0] != "lehr" or (source := _source(defined_in(module, name))) is None:
        return None
    if name in source.definitions:
        return source, source.definitions[name]
    return _find(*source.imported[name]) if name in source.imported else None


def _lineage(source: _Source, cls: ast.ClassDef) -> Iterator[tuple[_Source, ast.ClassDef]]:
    """The class and its bases, as far as they are lehr's, in the order in which a name is looked for."""
    yield source, cls
    for base in cls.bases:
        name = _name(base)
        here = source.definitions.get(name)
        there = _find(*source.imported[name]) if name in source.imported else None
        found = (source, here) if here else there
        if found and isinstance(found[1], ast.ClassDef):
            yield from _lineage(found[0], found[1])


def _assigned(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _name(node: ast.expr) -> str:
    """Of a name, or of what is called by it."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.id if isinstance(node, ast.Name) else ""
