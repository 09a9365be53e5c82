"""The parts of the page. Every string of a run enters through ``text``."""

from collections.abc import Iterable, Sequence
from html import escape

from fedtiny.plain import plain

Row = Sequence[str]
CARDS_ABOVE = 4  # columns


def text(words: str) -> str:
    """Words as the page can hold them, whatever a device or an operator wrote."""
    return escape(plain(words))


def section(title: str, *content: str) -> str:
    """A part of the page with its heading."""
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(content) + "</section>"


def grid(content: Iterable[str], style: str = "large") -> str:
    """Things side by side, where there is room."""
    return f'<div class="grid {style}">' + "\n".join(content) + "</div>"


def nothing(title: str, why: str) -> str:
    """In the place of a picture that there is not."""
    return f"<div><h3>{text(title)}</h3>{paragraph('No picture: ' + why + '.', 'note')}</div>"


def paragraph(words: str, style: str) -> str:
    """One paragraph."""
    return f'<p class="{style}">{text(words)}</p>'


def table(
    head: Row, rows: Sequence[Row], marked: int | None = None, nothing_said: str = "Nothing was recorded."
) -> str:
    """A table; one of many columns becomes a card a row on a phone. Column ``marked`` stands out."""
    if not rows:
        return paragraph(nothing_said, "note")
    cards = len(head) > CARDS_ABOVE

    def line(cells: Row, tag: str) -> str:
        styles = ["marked" if i == marked else "long" if len(c) > 30 else "" for i, c in enumerate(cells)]
        names = [f' data-name="{text(name)}"' if cards and tag == "td" and name else "" for name in head]
        return "".join(
            f"<{tag}{name}" + (f' class="{style}"' if style else "") + f">{text(cell)}</{tag}>"
            for cell, style, name in zip(cells, styles, names, strict=True)
        )

    top = f"<thead><tr>{line(head, 'th')}</tr></thead>" if any(head) else ""
    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    styled = ' class="cards"' if cards else ""
    return f'<div class="scroll"><table{styled}>{top}<tbody>{body}</tbody></table></div>'


def items(entries: Iterable[tuple[str, str, str]]) -> str:
    """A list of (style, what stands out, the rest of the words)."""
    return (
        '<ul class="items">'
        + "\n".join(
            f'<li class="{style}"><strong>{text(lead)}</strong> {text(words)}</li>' for style, lead, words in entries
        )
        + "</ul>"
    )
