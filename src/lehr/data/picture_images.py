"""One split of encoded pictures, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lehr.data.augmentation import Augmentation
from lehr.data.buckets import nearest_bucket
from lehr.data.crop import Size, View
from lehr.data.decode import Decoder, upright_sizes
from lehr.data.digests import digests_of_pictures
from lehr.data.encoded import Encoded
from lehr.data.images import to_pixels
from lehr.data.sources import Source

_SIZES_AT_ONCE = 256


class PictureImages:
    """One split of encoded pictures: rows of a source. How training looks at them is a function of (seed, epoch, row
    of the split).
    """

    def __init__(
        self,
        source: Source,
        rows: Tensor,
        labels: Tensor | None,
        decoder: Decoder,
        augmentation: Augmentation,
        known: dict[str, bytes],
    ) -> None:
        self.source = source
        self.rows = rows
        self.labels = labels
        self.shape = (decoder.form.channels, decoder.form.size, decoder.form.size)
        self._decoder = decoder
        self._augmentation = augmentation
        self._known = known
        self.buckets: Tensor | None = None
        """Of each picture which of the sizes it has in training; None where it has that of evaluation."""
        self._sizes: list[Size] = []

    def assign_buckets(self, buckets: Sequence[Sequence[int]]) -> None:
        """Let each picture be in batches of the bucket (height, width) that is nearest to its shape: reads all sizes.

        Raises:
            DataError: names a picture whose size cannot be read.
        """
        parts = self.rows.split(_SIZES_AT_ONCE)
        pictures = (list(map(self.source.picture, part.tolist())) for part in parts)
        sizes = [size for some in self._decoder.map(upright_sizes, pictures) for size in some]
        self.buckets = nearest_bucket(torch.tensor(sizes), buckets)
        self._sizes = [(width, height) for height, width in buckets]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def levels(self) -> int:
        return 256  # the decoder gives 8 bits, of whatever size and format the picture is

    def subset(self, rows: Tensor) -> PictureImages:
        labels = None if self.labels is None else self.labels[rows]
        part = PictureImages(self.source, self.rows[rows], labels, self._decoder, self._augmentation, self._known)
        if self.buckets is not None:
            part.buckets, part._sizes = self.buckets[rows], self._sizes
        return part

    @property
    def root(self) -> str:
        """Where the pictures of this split lie."""
        return self.source.title

    @property
    def files(self) -> list[str]:
        """What the pictures are called in messages; those of a folder by their paths."""
        return [self.source.key(row) for row in self.rows.tolist()]

    @property
    def names(self) -> list[str]:
        """What the pictures are called within the data set."""
        return [self.source.name(row) for row in self.rows.tolist()]

    def picture(self, row: int) -> Encoded:
        """Where the bytes of a picture are."""
        return self.source.picture(int(self.rows[row]))

    def digests(self) -> np.ndarray:
        """Of the bytes of each picture, (n, 16) uint8."""
        return digests_of_pictures(self.files, self.picture, self._known)

    def fetch(self, batches: Iterable[Tensor], *, epoch: int | None, device: torch.device | str) -> Iterator[Tensor]:
        drawn = None if epoch is None else self._augmentation.of_epoch(epoch, len(self))

        def views(batch: Tensor) -> list[View]:
            pictures = map(self.source.picture, self.rows[batch].tolist())
            if drawn is None:
                return list(map(View, pictures))
            # all of a batch are of one bucket
            target = None if self.buckets is None or not len(batch) else self._sizes[int(self.buckets[batch[0]])]
            return drawn.views(pictures, batch, target)

        for pixels in self._decoder.batches(map(views, batches)):
            yield to_pixels(torch.from_numpy(pixels).to(device))
