"""Tables that a lecturer gives: a class list, marks by hand, extensions. CSV, as every spreadsheet writes it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common import Problem


@dataclass(frozen=True)
class Sheet:
    """A table: its head as it is written, and its lines by the names of the columns in small letters.

    ``longer`` is the first line with more in it than the head has columns, or nothing.
    """

    head: list[str]
    lines: list[dict[str, str]]
    longer: str = ""

    def has(self, *columns: str) -> bool:
        """Whether the table has all these columns; their names in small letters."""
        return set(columns) <= {_key(column) for column in self.head}


def read_sheet(path: Path) -> Sheet:
    """Read a table whose cells are parted by commas, semicolons or tabs.

    Raises:
        Problem: the file is missing, in another encoding than UTF-8, or no CSV.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error}") from None
    except UnicodeDecodeError:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        found = "in UTF-16" if wide else "in an encoding of one alphabet, perhaps cp1252"
        raise Problem(f"{path} is {found}, not in UTF-8: save it again as CSV UTF-8, as Excel calls it") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [row for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise Problem(f"{path} is no CSV file: {error}") from None
    head = rows[0] if rows else []
    longer = next((delimiter.join(row) for row in rows[1:] if any(cell.strip() for cell in row[len(head) :])), "")
    return Sheet(head, [{_key(name): cell for name, cell in zip(head, row, strict=False)} for row in rows[1:]], longer)


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as the text of a CSV file, the same on every system."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _key(column: str) -> str:
    return column.strip().lower()
