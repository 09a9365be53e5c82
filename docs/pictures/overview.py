"""The whole in one picture, as SVG: light cards and grey lines, which read on white and on black."""

from html import escape

WIDTH, HEIGHT = 900, 452
CARD, EDGE, INK, LINE = "#f6f8fa", "#0b6e99", "#1f2328", "#7d8590"
STEPS = ("samples", "log band energies", "int8 model", "score", "threshold", "alarm")


def draw() -> str:
    """The picture's text."""
    parts = [
        _card(10, 10, 250, 84, "Trainer", "recordings of healthy machines", "→ autoencoder → int8 release"),
        _card(330, 10, 250, 84, "Coordinator", "collects deltas, screens, merges,", "publishes heads, keeps a ledger"),
        _card(650, 10, 240, 84, "Monitor", "every device, alarm and round;", "acknowledge, roll back"),
        _card(330, 162, 560, 40, "MQTT broker", inline="embedded, Mosquitto or your own; TLS, certificates"),
        _card(10, 272, 660, 170, "Device, beside each machine"),
        _card(
            730, 272, 160, 170, "Firmware", "the same model", "as C99, to the bit;", "new heads without", "reflashing"
        ),
        _arrow(260, 52, 326, 52, "release"),
        _arrow(420, 94, 420, 158, "release, head", before=True),
        _arrow(490, 162, 490, 98, "deltas"),
        _arrow(740, 162, 740, 98, "status, scores, alarms"),
        _arrow(420, 202, 420, 268, "release, head", before=True),
        _arrow(490, 272, 490, 206, "delta (some kB), status, scores, alarms"),
        _arrow(670, 357, 726, 357, "export"),
        *_pipeline(26, 310, 628),
        _text(26, 392, "recent normal windows  →  fine-tune the last layer  →  delta", INK),
        _text(26, 416, "new head  →  tried on healthy windows of this machine  →  used, or not", INK),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">\n'
        "<title>Trainer, coordinator, broker, devices, firmware and monitor, and what passes between them</title>\n"
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _card(x: int, y: int, width: int, height: int, title: str, *lines: str, inline: str = "") -> str:
    """A box with a title, and lines below it or ``inline`` beside it."""
    rows = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{CARD}" stroke="{EDGE}" '
        'stroke-width="1.5"/>',
        f'<text x="{x + 16}" y="{y + 26}" fill="{EDGE}" font-size="15" font-weight="600">{escape(title)}</text>',
        *(_text(x + 16, y + 48 + 19 * row, line, INK) for row, line in enumerate(lines)),
    ]
    if inline:
        rows.append(_text(x + 140, y + 26, inline, INK))
    return "\n".join(rows)


def _pipeline(x: int, y: int, width: int) -> list[str]:
    """The steps from samples to alarm, side by side; a step is as wide as its words need."""
    gap = 22
    letters = sum(map(len, STEPS))
    unit = (width - gap * (len(STEPS) - 1) - 20 * len(STEPS)) / letters
    parts, at = [], float(x)
    for number, step in enumerate(STEPS):
        wide = 20 + unit * len(step)
        parts.append(f'<rect x="{at:.1f}" y="{y}" width="{wide:.1f}" height="44" rx="6" fill="#dcebf2"/>')
        parts.append(_text(at + wide / 2, y + 27, step, INK, "middle"))
        at += wide
        if number < len(STEPS) - 1:
            parts.append(_arrow(at + 2, y + 22, at + gap - 2, y + 22))
            at += gap
    return parts


def _arrow(x1: float, y1: float, x2: float, y2: float, words: str = "", *, before: bool = False) -> str:
    """A line with a tip; its words above it, or beside it where it is upright (``before``: on its left)."""
    line = f'<path d="M{x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}" stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    if not words:
        return line
    if x1 != x2:
        return line + _text(middle_x, y1 - 8, words, LINE, "middle")
    return line + _text(middle_x + (-8 if before else 8), middle_y + 5, words, LINE, "end" if before else "start")


def _text(x: float, y: float, words: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
