"""By what a pipeline scales latents."""

from __future__ import annotations

import pytest

from lehr.run.factors import Factors


def test_factors_that_say_what_the_channels_say_are_not_applied_besides() -> None:
    measured = Factors(0.34158, 0.124605, (0.2501, -0.25182, 0.64991, -0.14977), (3.7992, 3.46706, 2.27558, 1.45895))
    assert measured.convention(is_published=True) == ((0.34158,), (0.124605,))
    assert measured.convention(is_published=False) == measured.convention(is_published=True)


def test_factors_beside_channels_that_say_something_else_are_applied_to_them() -> None:
    published = Factors(0.5, 0.0, (1.0, -1.0), (2.0, 4.0))
    assert published.convention(is_published=True) == (pytest.approx((0.25, 0.125)), (1.0, -1.0))
