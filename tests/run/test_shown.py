"""Numbers as tables show them."""

from __future__ import annotations

import pytest

from lehr.run.evaluation import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-6, "1e-06"), (0.0, "0.0000"), (0.25, "0.2500"), (-2e-5, "-2e-05"), (12345.0, "12,345.0000"), (2e7, "2e+07")],
)
def test_a_number_that_is_not_0_is_not_shown_as_0(value: float, text: str) -> None:
    assert shown("train/kl_weight", value) == text
