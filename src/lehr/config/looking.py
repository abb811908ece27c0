"""What the commands can be told that look at runs, and leave them as they are: `lehr results` and `lehr report`."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge

from lehr.config.schema import Section
from lehr.limits import PathString, Text


class ResultsConfig(Section):
    """Everything `lehr results` can be told, but for the directory."""

    metrics: list[str] | None
    by: list[str] | None
    sort: Text | None
    runs: bool
    format: Literal["table", "csv", "markdown", "parquet"] | None
    out: PathString | None


class ReportConfig(Section):
    """Everything `lehr report` can be told, but for the directories."""

    format: Literal["html", "md", "png", "pdf"] | None
    metrics: list[str] | None
    runs: bool
    out: PathString | None
    watch: bool
    every: Annotated[int, Ge(1)]
