"""Numbers that are NaN or infinite are found where they are computed, and named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lehr.errors import NonFinite

if TYPE_CHECKING:
    from torch import Tensor

DIVERGED = "training has diverged, a smaller optimizer.lr may help"


def wrong_among(numbers: Mapping[str, float]) -> str | None:
    """Those that are not finite: "the rate is nan and the distortion is inf"; None where all are."""
    wrong = [f"the {name} is {number}" for name, number in numbers.items() if not math.isfinite(number)]
    return " and ".join(wrong) or None


def require_finite(where: str, numbers: Mapping[str, float]) -> None:
    """Check what was measured of a model.

    Raises:
        NonFinite: one line that says `where`, and which of the numbers are not finite.
    """
    if wrong := wrong_among(numbers):
        raise NonFinite(f"{where}: {wrong}; {DIVERGED}")


def require_finite_tensors(where: str, tensors: Mapping[str, Tensor]) -> None:
    """Check all numbers of tensors, by name.

    Raises:
        NonFinite: one line that says `where`, in which of them, and how many, are not finite.
    """
    wrong = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and (count := int(tensor.numel() - tensor.isfinite().sum())):
            wrong[name] = f"{count:,} of {tensor.numel():,} numbers"
    if wrong:
        first, *others = wrong
        more = f", and of {len(others)} more" if others else ""
        raise NonFinite(f"{where}: {wrong[first]} of {first}{more} are NaN or infinite; {DIVERGED}")
