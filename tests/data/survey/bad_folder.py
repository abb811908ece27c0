"""A folder of images made bad on purpose: each fault that a survey is to find, and the files that have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 16
PLANTED = {
    "damaged": ["cat/cut.png", "cat/empty.png", "cat/nowhere.png", "cat/text.png"],
    "wrong extension": ["cat/is_png.jpg"],
    "smaller than data.size": ["cat/tiny.png"],
    "much cut": ["cat/wide.png"],
    "transparent": ["cat/holes.png"],
    "more than 8 bits": ["cat/deep.png"],
    "CMYK": ["cat/inks.jpg"],
    "links": ["dog/link.png"],
    "constant": ["cat/white.png"],
    "nearly constant": ["cat/nearly.png"],
    "grey among colours": ["cat/deep.png", "cat/grey.png"],
    "hidden": ["cat/.hidden.png"],
    "other names of the same": ["dog/alias.png"],
    "other formats": ["cat/photo.heic"],
    "further pictures in a file": ["cat/pages.tiff"],
    "pictures without an image's name": ["cat/a_jpeg.dat"],
    "no images by their name": ["cat/notes.txt"],
}
"""Kind of finding -> files; those about equal images and labels are tested by themselves."""


def noise(seed: int, height: int = 20, width: int = 20, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make(root: Path, outside: Path) -> Path:
    """The folder; a file that one of its links leads to lies `outside`."""
    for name, n in (("cat", 10), ("dog", 10)):
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(noise(100 * len(name) + 7 * i + (name == "dog"))).save(root / name / f"{i:02}.png")
    cat, dog = root / "cat", root / "dog"
    whole = (cat / "00.png").read_bytes()
    (cat / "cut.png").write_bytes(whole[: len(whole) // 2])
    (cat / "empty.png").touch()
    (cat / "nowhere.png").symlink_to(root / "there_is_no_such_file.png")
    (cat / "text.png").write_text("no picture")
    Image.fromarray(noise(1)).save(cat / "is_png.jpg", format="PNG")
    Image.fromarray(noise(2, 8, 8)).save(cat / "tiny.png")
    Image.fromarray(noise(3, 20, 50)).save(cat / "wide.png")
    holes = np.dstack([noise(4), np.full((20, 20), 255, np.uint8)])
    holes[:5, :, 3] = 0
    Image.fromarray(holes).save(cat / "holes.png")
    Image.fromarray(noise(5, channels=1).astype(np.uint16) * 257).save(cat / "deep.png")
    Image.fromarray(noise(6, channels=4), "CMYK").save(cat / "inks.jpg", quality=95)
    outside.mkdir()
    Image.fromarray(noise(7)).save(outside / "picture.png")
    (dog / "link.png").symlink_to(outside / "picture.png")
    Image.new("RGB", (20, 20), "white").save(cat / "white.png")
    Image.fromarray((noise(8) // 64 + 100).astype(np.uint8)).save(cat / "nearly.png")
    Image.fromarray(noise(9, channels=1)).save(cat / "grey.png")
    Image.fromarray(noise(10)).save(cat / ".hidden.png")
    (dog / "alias.png").symlink_to(dog / "00.png")
    (cat / "photo.heic").write_bytes(b"not read")
    pages = [Image.fromarray(noise(seed)) for seed in (11, 12)]
    pages[0].save(cat / "pages.tiff", save_all=True, append_images=pages[1:])
    Image.fromarray(noise(13)).save(cat / "a_jpeg.dat", format="JPEG")
    (cat / "notes.txt").write_text("where they come from")
    return root
