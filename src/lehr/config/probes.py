"""The probes by name, with a line each for whoever chooses among them; what they do is in `lehr.evaluation.probes`."""

from __future__ import annotations

PROBES = {
    "colour": "a shift of colours",
    "saturation": "values that leave the range of pixels",
    "border": "borders that are reconstructed worse than the same pixels within",
}
"""In the order in which they are shown."""
