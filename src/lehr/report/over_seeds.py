"""Curves over the seeds of each combination, for TensorBoard: means, with a margin of their standard deviation.

A chart with a margin is of three curves of one run there. So each combination is one more run, in the folder
`over_seeds` of the sweep, with the curves NAME/mean, NAME/low and NAME/high of each validation curve.

Shapes: s seeds, t validations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from lehr.report.gather import Gathered
from lehr.report.layout import Ints, Layout, lay_out, numbers_of
from lehr.report.reading import Curve, validation_curves
from lehr.run.contents import EVENTS_SUFFIX, OVER_SEEDS, event_files
from lehr.run.status import DONE
from lehr.sweeps.names import label_of

_PARTS = ("mean", "low", "high")
_CATEGORY = "over seeds: mean and standard deviation"
Margins = Mapping[str, Sequence[Curve]]
"""Name of a metric -> its mean, and that less and plus one standard deviation, over images seen."""


def write_over_seeds(gathered: Gathered) -> None:
    """Write the curves of every combination of which several seeds are done, in place of those of before.

    Nothing where runs have no events: then nobody looks at TensorBoard.

    Raises:
        OSError: where they cannot be written.
    """
    place = gathered.paths[0] / OVER_SEEDS
    before = [path for folder in _folders(place) for path in event_files(folder)]
    for label, margins in _combinations(gathered):
        _write(place / label, margins)
    for path in before:  # last: who looks on meanwhile sees the ones or the others
        path.unlink(missing_ok=True)
        with suppress(OSError):  # there are newer ones, or what somebody has put there
            path.parent.rmdir()


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _combinations(gathered: Gathered) -> Iterator[tuple[str, Margins]]:
    """Each combination of what was swept but for the seed, by its name, with what its seeds have come to."""
    layout = lay_out(gathered.results)
    names: set[str] = set()
    for group in range(len(layout.groups)):
        rows = np.array([
            row for row in np.flatnonzero(layout.group == group)
            if layout.runs[row].state == DONE and event_files(gathered.path_of(layout.runs[row]))
        ])  # fmt: skip
        if len(rows) > 1 and (margins := _margins(layout, rows, gathered)):
            label = label_of(layout.values(group)) or "all"
            while label in names:  # values that are too long are told in part
                label += "+"
            names.add(label)
            yield label, margins


def _margins(layout: Layout, rows: Ints, gathered: Gathered) -> Margins:
    """Of these runs, at the validations that all of them have: of each metric that all measured on the same."""
    curves = [validation_curves(gathered.path_of(layout.runs[row])) for row in rows]
    found: dict[str, Sequence[Curve]] = {}
    for name in curves[0]:
        same = len(np.unique(numbers_of(layout, name).condition[rows])) == 1
        if same and all(name in own for own in curves) and len(margin := margin_of([own[name] for own in curves])):
            found[name] = margin
    return found


def margin_of(curves: Sequence[Curve]) -> Sequence[Curve]:
    """The mean of s curves, and that less and plus one standard deviation, which has s - 1 in the denominator.

    At the validations that all have, where all are finite; nothing where there is none.
    """
    images = reduce(np.intersect1d, [curve.images for curve in curves])
    values = np.stack([curve.values[np.searchsorted(curve.images, images)] for curve in curves])  # (s, t)
    known = np.isfinite(values).all(0)
    images, values = images[known], values[:, known]
    if not len(images):
        return ()
    mean, std = values.mean(0), values.std(0, ddof=1)
    return [Curve(images, one) for one in (mean, mean - std, mean + std)]


def _write(folder: Path, margins: Margins) -> None:
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]

    now = time.time()
    writer = EventFileWriter(str(folder), filename_suffix=EVENTS_SUFFIX)
    writer.add_event(Event(wall_time=now, summary=_layout(margins)))
    for name, curves in margins.items():
        tags = [f"{name}/{part}" for part in _PARTS]
        for images, *values in zip(curves[0].images, *(curve.values for curve in curves), strict=True):
            found = [Summary.Value(tag=tag, simple_value=value) for tag, value in zip(tags, values, strict=True)]
            writer.add_event(Event(wall_time=now, step=int(images), summary=Summary(value=found)))
    writer.close()


def _layout(names: Mapping[str, Any]) -> Any:
    """The charts of these metrics for the tab of custom scalars; that of several runs which is the same is one."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata  # type: ignore[import-untyped]

    charts = []
    for name in names:
        mean, low, high = (f"{name}/{part}" for part in _PARTS)
        series = layout_pb2.MarginChartContent.Series(value=mean, lower=low, upper=high)
        charts.append(layout_pb2.Chart(title=name, margin=layout_pb2.MarginChartContent(series=[series])))
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title=_CATEGORY, chart=charts)])
    text = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape={})
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME))
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=text, metadata=plugin)])
