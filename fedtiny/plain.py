"""A peer's words as people may see them, in a terminal or on a page."""


def plain(text: str) -> str:
    """Without what could steer a terminal or turn the line around; a space that does not break stays."""
    return "".join(c if c.isprintable() or c == "\u00a0" else "\N{REPLACEMENT CHARACTER}" for c in text)
