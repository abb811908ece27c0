"""`lehr export`: a finished run as other programs read it."""

from __future__ import annotations

from typing import Any

from lehr.cli.help import EXPORT_HELP
from lehr.cli.simple import run_simple
from lehr.config.exchange import ExportConfig


def main(argv: list[str]) -> int:
    """Write what was asked for; the exit code."""
    return run_simple("export", argv, EXPORT_HELP, ExportConfig, _act)


def _act(values: dict[str, Any]) -> None:
    from lehr.api.export import export

    path = export(
        values["run"],
        values["out"],
        values["format"],
        weights=values["weights"],
        overwrite=values["overwrite"],
        trust=values["trust"],
        moved=values["data"],
    )
    for file in sorted(path.iterdir()):
        print(file)
