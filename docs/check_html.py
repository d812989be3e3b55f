"""Check the built HTML for broken local links and anchors, and for external resources.

python docs/check_html.py docs/_build/html
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

#: Attributes by which a browser loads something while it shows a page.
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """HTML parser that collects links, anchors and loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the references of a tag."""
        named = {key: value for key, value in attrs if value}
        self.anchors |= {named[key] for key in ("id", "name") if key in named}
        if tag in LOADS and LOADS[tag] in named and named.get("rel") not in ("next", "prev"):
            self.loads.append(named[LOADS[tag]])
        elif tag == "a" and "href" in named:
            self.links.append(named["href"])


@cache
def read(path: Path) -> Page:
    """Parse a page, with caching."""
    return Page(path.read_text(encoding="utf-8"))


def faults(root: Path) -> list[str]:
    """List the problems of all pages in a folder.

    Args:
        root (Path): The built documentation.

    Returns:
        list[str]: One sentence a fault.
    """
    found = []
    for path in sorted(root.rglob("*.html")):
        name, page = path.relative_to(root).as_posix(), read(path)
        found += [f"{name} loads {url}" for url in page.loads if re.match(r"(https?:)?//", url)]
        local = [url for url in (*page.links, *page.loads) if not re.match(r"[a-z]+:|//", url)]
        for url in local:
            target, _, anchor = unquote(url).partition("#")
            target = target.partition("?")[0]
            file = (path.parent / target).resolve() if target else path
            if not file.exists():
                found.append(f"{name}: {url} does not exist")
            elif anchor and file.suffix == ".html" and anchor not in read(file).anchors:
                found.append(f"{name}: {url} has no such anchor")
    for path in sorted(root.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.name} loads {url}" for url in re.findall(r"url\((?:https?:)?//[^)]*\)", text)
        ]
    return found


def main() -> None:
    """Print the problems; exit status 1 if there are any."""
    root = Path(sys.argv[1])
    wrong = faults(root)
    print("\n".join(wrong) or f"{len(list(root.rglob('*.html')))} pages, no broken links")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
