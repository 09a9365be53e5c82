"""A page as a parser sees it."""

import re
from html.parser import HTMLParser

ACTIVE = {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Checks that every tag is closed in order and nothing is loaded or run; collects tags and visible text."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.tags, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.stack == []
        assert not ACTIVE & {tag for tag, _ in self.tags}
        assert not any(key.startswith("on") or key in ("href", "src") for _, attrs in self.tags for key in attrs)
        assert not re.search(r"@import|url\(|//", html[html.index("<style>") : html.index("</style>")])

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def paths(self, style):
        return [attrs["d"] for tag, attrs in self.tags if tag == "path" and attrs.get("class") == style]
