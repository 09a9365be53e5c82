"""What the site takes from outside ``docs/``, and the decisions in the navigation: hooks of MkDocs.

Pages link as files do in the repository, so that they also work where the repository is browsed. A link to a file that
the site has as a page becomes a link to that page; one to any other file outside ``docs/`` becomes its text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {"broker/README.md": "brokers.md", "CHANGELOG.md": "changes.md", "benchmarks/REPORT.md": "figures/index.md"}
PICTURES = {"benchmarks/pictures": "figures/pictures"}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]*)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the decisions at the end of the last section of the navigation."""
    decisions = sorted(path.name for path in (ROOT / "docs" / "adr").glob("*.md"))
    assert config.nav is not None
    (pages,) = config.nav[-1].values()
    pages.append({"Decisions": [f"adr/{name}" for name in decisions]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that are kept elsewhere in the repository."""
    for path, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text()))
    for folder, name in PICTURES.items():
        for picture in sorted((ROOT / folder).glob("*.svg")):
            files.append(File.generated(config, f"{name}/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside ``docs/`` lead somewhere."""
    origin = {name: path for path, name in OUTSIDE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if path.startswith("docs/"):
            name = path.removeprefix("docs/")
        elif path in OUTSIDE:
            name = OUTSIDE[path]
        elif (ROOT / path).exists():
            return text
        else:
            return match[0]  # broken: MkDocs says so
        return f"[{text}]({posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(rewrite, markdown)
