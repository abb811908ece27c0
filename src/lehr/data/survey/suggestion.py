"""Which likelihood pixels ask for, and why."""

from __future__ import annotations

from dataclasses import dataclass

from lehr.data.survey.pixels import EIGHT_BITS, PixelStatistics

NEARLY_BINARY = 0.5
"""From this `PixelStatistics.bimodality` on drawing grey values as binary pixels keeps more than it adds."""
_DISCRETE = "likelihood=discretized_logistic"


@dataclass(frozen=True)
class Suggestion:
    """What to say to `lehr train`.

    Attributes:
        words: what to type.
        reason: why, in a sentence.
        otherwise: another choice, and what it is for; empty where there is none.
    """

    words: tuple[str, ...]
    reason: str
    otherwise: str = ""


def suggest(
    pixels: PixelStatistics, levels: int | None, channels: int, *, all_grey: bool, can_be_grey: bool
) -> Suggestion:
    """The likelihood for training images with these pixels, as they are stored.

    Binary pixels: `bernoulli`. Grey values that are nearly binary (see `NEARLY_BINARY`): `bernoulli` of pixels that are
    drawn. Other grey values of known levels: `discretized_logistic`. Colours, and real numbers: `gaussian`.

    Args:
        pixels: of the training split.
        levels: how many evenly spaced levels the data set says that it has; 2: binary; None: not known.
        channels: of an image.
        all_grey: whether no image has colour, in whatever number of channels.
        can_be_grey: whether `data.channels=1` makes them one channel.
    """
    if levels == 2 or pixels.grid == 2:
        return Suggestion(("likelihood=bernoulli", "data.binarize=none"), "the pixels are binary: 0 or 1")
    if channels == 3 and all_grey and can_be_grey:
        one = suggest(pixels, levels, 1, all_grey=True, can_be_grey=False)
        return Suggestion(("data.channels=1", *one.words), f"no image has colour, and {one.reason}", one.otherwise)
    if channels > 1:
        return Suggestion(
            ("likelihood=gaussian", "data.binarize=none"),
            "the pixels are colours: real numbers with one learned standard deviation",
            "likelihood=discretized_logistic for bits per dimension without dequantisation"
            if levels == EIGHT_BITS
            else "",
        )
    return _of_grey(pixels, levels)


def _of_grey(pixels: PixelStatistics, levels: int | None) -> Suggestion:
    several = f" likelihood.levels={levels}" if levels not in (None, EIGHT_BITS) else ""
    as_stored = f"{_DISCRETE}{several} data.binarize=none"
    share = (
        f"{pixels.bimodality:.0%} of the variance of pixels drawn by their grey value is the image's, not the drawing's"
    )
    if pixels.bimodality >= NEARLY_BINARY:
        density = "likelihood=gaussian data.binarize=none"
        return Suggestion(
            ("likelihood=bernoulli", "data.binarize=dynamic"),
            f"the grey values are nearly binary: {share}",
            f"{density if levels is None else as_stored} for the grey values themselves",
        )
    if levels is None:
        return Suggestion(
            ("likelihood=gaussian", "data.binarize=none"),
            "the grey values are real numbers, whose levels are not known",
            _saved(pixels.grid),
        )
    return Suggestion(
        tuple(as_stored.split()),
        f"the grey values have {levels} levels, each with a probability of its own; only {share}",
        "likelihood=gaussian data.binarize=none for a density with one learned standard deviation",
    )


def _saved(grid: int | None) -> str:
    if grid is None:
        return ""
    return f"they are of {grid} even levels: saved as uint8, {_DISCRETE} gives each a probability"
