"""What a check found, as text for a terminal and as HTML for a notebook, in the light and the dark theme alike."""

import re
from dataclasses import dataclass
from html import escape

from ndelib.exercises.engine import Verdict

# Borders only, so that the text keeps the colours of whatever theme is on. Okabe and Ito's green and vermilion.
_PASS, _FAIL = "#009e73", "#d55e00"


@dataclass(frozen=True)
class QuestionReport:
    """The verdicts on one question; ``notes`` say what else a student should know if it fails."""

    name: str
    title: str
    points: float
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every public test passed."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def points_earned(self) -> float:
        """The points of the public tests that passed."""
        return sum(verdict.points for verdict in self.verdicts if verdict.passed)

    @property
    def heading(self) -> str:
        """One line: which question, how it stands, what it has earned so far."""
        state = "✓ public tests pass" if self.passed else "✗ not yet"
        return f"{self.name} · {self.title} · {state} ({self.points_earned:g} of {self.points:g} points so far)"

    @property
    def messages(self) -> list[str]:
        """What the tests that failed have to say, each thing once, and the notes."""
        return list(dict.fromkeys([*(verdict.message for verdict in self.verdicts if not verdict.passed), *self.notes]))


@dataclass(frozen=True, repr=False)
class Report:
    """The result of a check; a notebook shows it if it is the last line of a cell, ``print`` shows it too."""

    questions: list[QuestionReport]
    footer: str

    @property
    def passed(self) -> bool:
        """Whether questions were checked and all their public tests passed."""
        return bool(self.questions) and all(question.passed for question in self.questions)

    def __repr__(self) -> str:
        lines = []
        for question in self.questions:
            lines.append(question.heading)
            lines += [f"    {line}" for message in question.messages for line in message.splitlines()]
        return "\n".join([*lines, self.footer])

    def _repr_html_(self) -> str:
        parts = []
        for question in self.questions:
            colour = _PASS if question.passed else _FAIL
            messages = "".join(f"<p style='margin:0.3em 0'>{_html(message)}</p>" for message in question.messages)
            parts.append(
                f"<div style='border-left:4px solid {colour}; padding:0.2em 0.8em; margin:0.4em 0'>"
                f"<strong>{_html(question.heading)}</strong>{messages}</div>"
            )
        return "".join([*parts, f"<p>{_html(self.footer)}</p>"])


def _html(text: str) -> str:
    """Plain text as HTML: escaped, line breaks kept, `code` set as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text)).replace("\n", "<br>")
