"""Values with their limits, for the constructors of components: what stands there is what a configuration may say.

A value of words is a `Literal`. Numbers are finite, wherever a configuration is checked.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from annotated_types import Ge, Gt, Lt, MinLen

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
FractionOrNone = Annotated[float, Ge(0), Lt(1)]
"""A part of something that may be nothing."""
Text = Annotated[str, MinLen(1)]


class IsPath:
    """Marks text that is a path, which a configuration keeps as an absolute one."""


class IsPattern(IsPath):
    """Marks a path that may also be a pattern for several files, as `lehr.data.tar.shards_of` reads it."""


PathString = Annotated[str, MinLen(1), IsPath()]
PathPattern = Annotated[str, MinLen(1), IsPattern()]

_RELATIONS = {"<": (operator.lt, "less than"), "<=": (operator.le, "at most")}


@dataclass(frozen=True)
class Order:
    """Two values of a component of which the one limits the other; a class lists its own as `ordered`.

    Attributes:
        low: the name of an argument.
        relation: "<" or "<=".
        high: the name of another.
    """

    low: str
    relation: str
    high: str

    def problem(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong with these values, or None; of a class whose constructor lacks one of them nothing is known."""
        low, high = values.get(self.low), values.get(self.high)
        if not (isinstance(low, int | float) and isinstance(high, int | float)):
            return None
        holds, words = _RELATIONS[self.relation]
        return None if holds(low, high) else f"{self.low}={low:g} must be {words} {self.high}={high:g}"


@dataclass(frozen=True)
class Together:
    """Two values of a component that must not be too small together; a class lists its own as `ordered`.

    Attributes:
        one, other: the names of two arguments.
        least: of their sum.
    """

    one: str
    other: str
    least: float

    def problem(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong with these values, or None; of a class whose constructor lacks one of them nothing is known."""
        one, other = values.get(self.one), values.get(self.other)
        if not (isinstance(one, int | float) and isinstance(other, int | float)):
            return None
        # 0.9 and what is left of 1 may come to a rounding less
        if one + other >= self.least - 1e-9:
            return None
        return f"{self.one}={one:g} and {self.other}={other:g} must add up to {self.least:g} or more"


@dataclass(frozen=True)
class Apart:
    """Values of two arguments that a component cannot have at once; a class lists its own as `ordered`.

    Attributes:
        one, other: the names of two arguments.
        of_one, of_other: the values that exclude each other; None stands for all but 0, false and null.
        why: and what would be right, to stand after the values.
    """

    one: str
    of_one: Any
    other: str
    of_other: Any
    why: str

    def problem(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong with these values, or None; of a class whose constructor lacks one of them nothing is known."""
        for name, excluded in ((self.one, self.of_one), (self.other, self.of_other)):
            value = values.get(name)
            if not value if excluded is None else value != excluded:
                return None
        pair = (f"{name}={_written(values[name])}" for name in (self.one, self.other))
        return f"{' and '.join(pair)}: {self.why}"


@dataclass(frozen=True)
class OneOf:
    """Two values of a component of which exactly one is given, the other null; a class lists its own as `ordered`.

    Attributes:
        one, other: the names of two arguments.
        what: what they say, in words.
    """

    one: str
    other: str
    what: str

    def problem(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong with these values, or None."""
        if (values.get(self.one) is None) != (values.get(self.other) is None):
            return None
        return f"say either {self.one} or {self.other}, {self.what}"


Limit = Order | Together | Apart | OneOf
"""What limits two values of a component."""


def is_marked(annotation: Any, mark: type) -> bool:
    """Whether an annotation says that a value is `mark`ed, also where the value may be null or one of a list."""
    return isinstance(annotation, mark) or any(is_marked(one, mark) for one in get_args(annotation))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def check_order(ordered: tuple[Limit, ...], section: str, **values: Any) -> None:
    """For the constructor of a class with `ordered`.

    Raises:
        ValueError: if the values are not in this order; `section` is where they stand in a configuration.
    """
    if problems := [problem for order in ordered if (problem := order.problem(values))]:
        raise ValueError(f"{section}: {'; '.join(problems)}")


def check_word(key: str, value: object, words: Any) -> None:
    """For a constructor: `value` is one of a `Literal`.

    Raises:
        ValueError: if it is not; `key` is where it stands in a configuration.
    """
    if value not in get_args(words):
        raise ValueError(f"{key}={value!r}: expected one of {', '.join(map(str, get_args(words)))}")
