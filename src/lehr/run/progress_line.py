"""One live line on a terminal, or a bar in a notebook; nothing, or a line now and then, where there is neither."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self


class ProgressLine:
    """A progress bar that is drawn at most ten times a second, and only on a terminal or in a notebook.

    Args:
        name: what is going on.
        total: how many steps there are.
        initial: how many are done already.
        shown: False never draws, as on all ranks but the first.
        keep: leave the last state of the line on the screen.

    It goes to what is standard error now, whatever that is later.
    """

    def __init__(self, name: str, total: int, initial: int = 0, shown: bool = True, keep: bool = False) -> None:
        self._bar: Any = None
        self._stream = sys.stderr
        self._is_widget = False
        if shown and self._stream.isatty():
            from tqdm import tqdm

            layout = f"{name} {{percentage:3.0f}}% |{{bar:20}}| {{remaining}} left  {{desc}}"
            self._bar = tqdm(
                total=total, initial=initial, leave=keep, file=self._stream, dynamic_ncols=True, bar_format=layout
            )
        elif shown and goes_to_notebook(self._stream):
            from tqdm.notebook import tqdm as tqdm_notebook

            layout = f"{name} {{percentage:3.0f}}% {{bar}} {{remaining}} left  {{desc}}"
            self._bar = tqdm_notebook(total=total, initial=initial, leave=keep, bar_format=layout)
            self._is_widget = True

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal or a notebook to draw on."""
        return self._bar is not None

    def advance(self, steps: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def show(self, done: float, text: str) -> None:
        """Draw now: `done` steps, and `text` behind the bar."""
        if self._bar is not None:
            self._bar.n = done
            self._bar.set_description_str(text)

    def say(self, text: str) -> None:
        """Write a line that stays, above the live one if there is one."""
        if self._bar is not None and not self._is_widget:
            self._bar.write(text, file=self._stream)
        else:
            print(f"{text}\n", end="", file=self._stream, flush=True)  # in one piece, whoever else writes there

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def goes_to_notebook(stream: Any) -> bool:
    """Whether what is written to `stream` is shown in a notebook that can show widgets: the output of a kernel of
    Jupyter's, which has ipywidgets."""
    return type(stream).__module__.partition(".")[0] == "ipykernel" and find_spec("ipywidgets") is not None
