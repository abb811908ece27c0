"""Values for keys, made out of the types that the schema gives them: good, at the limits, beyond, and worse."""

from __future__ import annotations

import math
import random
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

HOSTILE = (
    "'", '"', "'a", '"a"b', "\\", "\\'", "a\nb", "\n", "\r\n", "\t", "a\0b", "\0", "\x1b[31mred", "\x7f", "${x}",
    "${seed}", "${oc.env:HOME}", "${oc.env:NOT_SET_ANYWHERE}", "${oc.env:NOT_SET_ANYWHERE,null}", "${oc.decode:1}",
    "${hydra:runtime.cwd}", "${hydra:nothing}", "${now:%Y}", "${now:}", "${", "${}", "$", "${${seed}}", "${kl}",
    "${kl.weight}", "${python:1}", "${oc.create:{a:1}}", "${oc.select:x,y}", "${oc.dict.keys:kl}", "${.x}",
    "${..seed}", "\\${seed}", "../x", "../../x", "/", ".", "..", "./", "~", "~/x", "~nobody/x", "//", "a//b/../c",
    " ", "  a  ", "a b", "-", "--", "-m", "--help", "=", "a=b", "==", "+", "+key", "++key", "~key", "@", "a@b",
    "a@b:c", ":", "a:b", ",", "a,b", ",,", "a,", "[", "]", "[]", "[a", "[[", "{", "}", "{}", "{a:1}", "{a:", "(",
    ")", "()", "choice(1,2)", "range(3)", "range(0,1,0)", "range(0,1e9)", "interval(0,1)", "glob(*)", "sort(3,1)",
    "shuffle(1,2)", "tag(a,b)", "int(1)", "str(1)", "f(x)", "#", "a#b", "!", "!!python/object:os.system", "!!int 3",
    "&a", "*a", "*", "?", "%s", "%", "|", ">", "<", ";", "`id`", "$(id)", "null", "~", "???", "none", "None", "nan",
    "inf", "-inf", "true", "1_000", "0x10", "1e", "1.", ".5", "+1", "-0", "ünï", "数据", "данные", "بيانات", "🦊",
    "👩‍🔬", "e\u0301", "\u202eabc", "\ud800", "\udcff\udcfe", "a\u2028b", "\ufeff", "x" * 300, "x" * 10_000,
    "../" * 400, "[" * 300, "${" * 200, "a." * 500, ".", "..a", "a.", "a..b", "a/b", "/a", "__class__", "_target_",
    "_self_",
)  # fmt: skip
"""What is typed by nobody who means well, or lands in a command by mistake."""

EXTREMES = (
    "0", "-0.0", "1", "-1", "2", "0.5", "1e-320", "1e-45", "1e-10", "1e10", "1e38", "1e39", "1e308", "-1e308",
    "1e400", "nan", "inf", "-inf", str(2**31 - 1), str(2**31), str(2**32), str(2**53 + 1), str(2**63 - 1),
    str(2**63), str(2**64), str(-(2**63)), str(10**30), "9" * 400,
)  # fmt: skip

WRONG = (
    "abc", "''", "", "null", "true", "false", "1.5", "1", "'1'", "[]", "[1]", "[1,2]", "[[1]]", "[null]", "[abc]",
    "{}", "{a:1}", "{1:2}", "[1,{a:2}]", "1e3", "yes", "on", "auto", "???", "${seed}", "0,1", "[0,1],[1,2]", "1:2",
    "'{'", "10-20",
)  # fmt: skip
"""Of whatever type: wrong for most keys."""


def good(rng: random.Random, annotation: Any) -> str | None:
    """A value that the type allows and that takes little time; None where the type says nothing."""
    inner, limits = _unwrapped(annotation)
    origin, args = get_origin(inner), get_args(inner)
    if origin is Literal:
        return str(rng.choice(args))
    if origin in (Union, types.UnionType):
        parts = [made for part in args if (made := good(rng, part)) is not None]
        return rng.choice(parts) if parts else None
    if origin is list:
        n = next((limit.min_length for limit in limits if isinstance(limit, MinLen)), rng.randint(1, 2))
        values = [good(rng, args[0]) for _ in range(n or 1)]
        return None if None in values else f"[{','.join(map(str, values))}]"
    if inner is bool:
        return rng.choice(("true", "false"))
    if inner is int:
        low = max([0, *(int(_bound(limit)) + isinstance(limit, Gt) for limit in limits if isinstance(limit, Ge | Gt))])
        return str(low + rng.choice((0, 1, 2, 3)))
    if inner is float:
        high = min([math.inf, *(_bound(limit) for limit in limits if isinstance(limit, Le | Lt))])
        return str(rng.choice((0.25, 0.5, 0.75)) * (high if math.isfinite(high) else rng.choice((1, 2))))
    return "null" if inner in (None, type(None)) else None


def at_limits(rng: random.Random, annotation: Any) -> str:
    """A value at a limit of the type, just beyond one, or far beyond any."""
    inner, limits = _unwrapped(annotation)
    parts = get_args(inner) if get_origin(inner) in (Union, types.UnionType) else (inner,)
    for part in parts:
        limits = [*limits, *_unwrapped(part)[1]]
    bounds = [_bound(limit) for limit in limits if isinstance(limit, Ge | Gt | Le | Lt)]
    near = [
        str(value)
        for bound in bounds
        for value in (bound, bound - 1, bound + 1, math.nextafter(bound, math.inf), math.nextafter(bound, -math.inf))
    ]
    if get_origin(inner) is list:
        size = rng.choice((0, 1, 1, 2, 3, 40))
        return f"[{','.join(rng.choice((*EXTREMES, 'null')) for _ in range(size))}]"
    return rng.choice(near) if near and rng.random() < 0.5 else rng.choice(EXTREMES)


def wrong(rng: random.Random, annotation: Any) -> str:
    """A value of another type, or a word that is almost one of those there are."""
    words = [word for word in _words(annotation) if word]
    if words and rng.random() < 0.5:
        return misspelt(rng, rng.choice(words))
    return rng.choice(WRONG)


def misspelt(rng: random.Random, word: str) -> str:
    """A word with a letter lost, doubled, exchanged or in another case."""
    place = rng.randrange(len(word))
    return rng.choice(
        (
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
            word[:place] + word[place + 1 : place + 2] + word[place] + word[place + 2 :],
            word.upper(),
            word + "s",
            word.replace("_", "-"),
        )
    )


def hostile(rng: random.Random) -> str:
    """A string of `HOSTILE`, alone, within a word, or twice."""
    one, other = rng.choice(HOSTILE), rng.choice(HOSTILE)
    return rng.choice((one, one, one, f"a{one}b", f"{one}{other}"))


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """The type within an `Annotated`, and its limits."""
    limits: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        for one in more:
            limits += list(one) if hasattr(one, "__iter__") else [one]
    return annotation, limits


def _bound(limit: Any) -> float:
    return next(value for name in ("ge", "gt", "le", "lt") if (value := getattr(limit, name, None)) is not None)


def _words(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]
