"""Text for a terminal: what others wrote is shown, never obeyed.

A model's answer or a file may hold control sequences that move the cursor, change the title or paste into the shell;
they are left out before anything is shown.
"""

from __future__ import annotations

import sys
from typing import Final

import attrs
from rich.console import Console
from rich.text import Text

__all__ = ["Screen", "clean"]

_CONTROLS: Final = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def clean(text: str) -> str:
    """The text without control characters; line ends and tabs stay."""
    return text.translate(_CONTROLS)


@attrs.define
class Screen:
    """Where a conversation is shown: answers on stdout, everything about them on stderr.

    Attributes:
        answers: for the model's text, and nothing else, so that it can be piped.
        notes: for tools, reasoning and errors.
    """

    answers: Console
    notes: Console
    _open_line: bool = False
    _thinking: bool = False

    @classmethod
    def of_process(cls) -> Screen:
        """The process's own stdout and stderr, as they are now; plain where they are no terminal."""
        return cls(Console(file=sys.stdout, highlight=False), Console(stderr=True, highlight=False))

    @property
    def writing(self) -> bool:
        """Whether a line of an answer or of a thought is not at its end."""
        return self._open_line or self._thinking

    def text(self, piece: str) -> None:
        """A piece of the model's text, at once."""
        shown = clean(piece)
        self._end_thought()
        self.answers.file.write(shown)
        self.answers.file.flush()
        if shown:
            self._open_line = not shown.endswith("\n")

    def end(self) -> None:
        """The answer is over."""
        if self._open_line:
            self.answers.file.write("\n")
            self.answers.file.flush()
            self._open_line = False

    def note(self, text: str, *, style: str = "dim") -> None:
        """A line about the conversation."""
        self.end()
        self._end_thought()
        self.notes.print(Text(clean(text), style=style), soft_wrap=True)

    def aside(self, text: str) -> None:
        """A line that has nothing to do with the answer, which it tears only where both are on one screen."""
        if self.writing and self.answers.is_terminal:
            self.note(text)
        else:
            self.notes.print(Text(clean(text), style="dim"), soft_wrap=True)

    def thought(self, piece: str) -> None:
        """A piece of the model's reasoning, at once."""
        self.end()
        self._thinking = True
        self.notes.print(Text(clean(piece), style="dim italic"), end="", soft_wrap=True)

    def _end_thought(self) -> None:
        if self._thinking:
            self._thinking = False
            self.notes.print()

    def prompt(self) -> None:
        """It is the person's turn, if a person sits there."""
        if self.notes.is_terminal and sys.stdin.isatty():
            self.notes.print("> ", end="", style="bold")
