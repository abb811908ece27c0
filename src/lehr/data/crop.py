"""Which part of a picture is taken, and how it is brought to size: functions of the picture's size and of the view.

Knows nothing of torch, as a decoding process imports it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from lehr.data.encoded import Encoded
from lehr.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels, as Pillow has it."""
_ELONGATED = 16
"""How many times as long as wide a picture is of which only what is kept is resized."""
_ATTEMPTS = 10
"""To find a box of the drawn area and ratio within a picture, before its centre is taken: as torchvision does."""


@dataclass(frozen=True)
class Form:
    """What pictures are brought to.

    Attributes:
        size: height and width in pixels.
        channels: 1 for grey, 3 for colour, 4 for colour and opacity.
        resize: what the short side is resized to before `size` is cut; None for `size`.
        scale: the least and the largest part of a picture's area that a random box has.
        ratio: the least and the largest ratio of width to height that one has.
        least: pictures whose short side is less are refused; 0 for none.
    """

    size: int
    channels: int
    resize: int | None = None
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    least: int = 0


@dataclass(frozen=True)
class View:
    """How one picture is looked at.

    Attributes:
        picture: where its bytes are.
        place: where along the longer side the square is cut, in [0, 1); 0.5 is the centre.
        mirrored: whether left and right are exchanged.
        across: where along the shorter side, if more than is cut is left of it.
        upside_down: whether top and bottom are exchanged.
        box: of a random box the seed; None where a square is cut.
        target: (width, height) of what is cut; None for a square of `Form.size`.
    """

    picture: Encoded = field(repr=False)
    place: float = 0.5
    mirrored: bool = False
    across: float = 0.5
    upside_down: bool = False
    box: int | None = None
    target: Size | None = None


def taken(image: Image.Image, view: View, form: Form) -> Image.Image:
    """What a view takes of a picture, brought to size.

    Raises:
        DataError: without the picture's name, if it is smaller than is allowed.
    """
    from PIL import Image, ImageOps

    if min(image.size) < form.least:
        raise TooSmall(f"has {image.width} x {image.height} pixels, less than the {form.least} that are to be cut")
    target = view.target or (form.size, form.size)
    if view.box is None:
        image = _cut(image, view, target, form)
    else:
        image = image.crop(random_box(image.size, view.box, form)).resize(target, Image.Resampling.BICUBIC)
    if view.mirrored:
        image = ImageOps.mirror(image)
    return ImageOps.flip(image) if view.upside_down else image


class TooSmall(DataError):
    """A picture is smaller than what is to be cut of it."""


def random_box(size: Size, seed: int, form: Form) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a box of random area and ratio within a picture: a function of the seed.

    As `torchvision.transforms.RandomResizedCrop` draws it (Szegedy et al. 2015, Section 6): area and the logarithm of
    the ratio are uniform, as long as the box fits; where none did, the centre, as large as the ratios allow.
    """
    draw = random.Random(seed).random
    width, height = size
    low, high = math.log(form.ratio[0]), math.log(form.ratio[1])
    for _ in range(_ATTEMPTS):
        area = width * height * (form.scale[0] + (form.scale[1] - form.scale[0]) * draw())
        ratio = math.exp(low + (high - low) * draw())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draw() * (width - w + 1)), int(draw() * (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * form.ratio[1])))
    h = min(height, max(1, round(width / form.ratio[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _cut(image: Image.Image, view: View, target: Size, form: Form) -> Image.Image:
    """A picture that covers the target, times `resize / size`, of which the target is cut."""
    from PIL import Image

    wanted = target if form.resize is None else tuple(max(side, side * form.resize // form.size) for side in target)
    scale = max(side / there for side, there in zip(wanted, image.size, strict=True))
    width, height = (max(side, round(there * scale)) for side, there in zip(wanted, image.size, strict=True))
    is_wide = width - target[0] >= height - target[1]
    across, down = (view.place, view.across) if is_wide else (view.across, view.place)
    left, top = int(across * (width - target[0] + 1)), int(down * (height - target[1] + 1))
    if max(width, height) > _ELONGATED * min(wanted):
        # A strip of a pixel's width would be enlarged to gigabytes. The same pixels, but for rounding.
        x, y = image.width / width, image.height / height
        right, bottom = min(image.width, (left + target[0]) * x), min(image.height, (top + target[1]) * y)
        return image.resize(target, Image.Resampling.BICUBIC, box=(left * x, top * y, right, bottom))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return image.crop((left, top, left + target[0], top + target[1]))
