"""What is odd in a data set: one kind of thing, how often, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_NAMES = 1000
"""Names of examples of a kind that a survey keeps."""


@dataclass(frozen=True)
class Finding:
    """Something that is odd, or was left out.

    Attributes:
        kind: a short name, the same in every survey: "damaged", "equal across splits", ...
        n: how many files, or images.
        about: what it means, in words that follow the number and the kind.
        names: of the first of them; a line each, perhaps with what is wrong.
    """

    kind: str
    n: int
    about: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, names: Sequence[str], about: str = "", n: int | None = None) -> list[Finding]:
        """Of things with these names, as a list: empty where there are none."""
        n = len(names) if n is None else n
        return [cls(kind, n, about, tuple(names[:MOST_NAMES]))] if n else []

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "n": self.n, "about": self.about, "names": list(self.names)}
