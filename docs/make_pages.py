"""Generate the pages of the documentation from the READMEs, with resolved links.

python docs/make_pages.py OUT

Sphinx reads the pages in OUT/pages. Links in READMEs refer to files of the repository: they become
links to other pages or to generated source pages; broken links are errors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import figures
import zoo
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SYSTEMS = tuple(figures.FIGURES)
#: Files of the repository that are pages, by the name of the page.
READMES = {
    "readme": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
    "guides/configs": "configs/README.md",
    "guides/bench": "configs/bench/README.md",
    "guides/pretrain": "configs/pretrain/README.md",
    "guides/backbones": "projects/smallvit/hosts/BACKBONES.md",
    **{
        f"guides/{name}": f"projects/smallvit/{name}/README.md"
        for name in ("engine", "hosts", "ops")
    },
    **{f"systems/{name}": f"configs/{name}/README.md" for name in SYSTEMS},
}
SOURCE_STYLE = "body { font-family: system-ui, sans-serif; margin: 1rem 2rem; }\n"
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


def pages() -> dict[str, Path]:
    """Return the source files of all pages, by page name.

    Returns:
        dict[str, Path]: READMEs and the texts of this folder.
    """
    found = {name: ROOT / path for name, path in READMES.items()}
    for path in sorted(ROOT.glob("plugins/*/README.md")):
        found[f"plugins/{path.parent.name}"] = path
    for path in sorted(DOCS.rglob("*.md")):
        if "_build" not in path.parts:
            found[path.relative_to(DOCS).with_suffix("").as_posix()] = path
    return found


def slugs(text: str) -> list[str]:
    """Return the anchors of all headings, as GitHub and MyST generate them.

    Args:
        text (str): Markdown.

    Returns:
        list[str]: One anchor per heading; repeated headings are numbered.
    """
    found: list[str] = []
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in found
        )
        found.append(f"{slug}-{count}" if count else slug)
    return found


@dataclass
class Links:
    """Resolver for links between files of the repository.

    Args:
        names (dict[Path, str]): Pages by file.
        sources (set[str]): Link targets that are not pages.
        broken (list[str]): Broken links with the files that contain them.
    """

    names: dict[Path, str]
    sources: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def resolve(self, text: str, file: Path) -> str:
        """Replace the links of a text.

        Args:
            text (str): Markdown.
            file (Path): Source file of the text.

        Returns:
            str: Text with links between pages.
        """
        parts = _FENCE.split(text)
        return "".join(
            part if number % 2 else _LINK.sub(self._of(file), part)
            for number, part in enumerate(parts)
        )

    def _of(self, file: Path) -> Callable[[re.Match], str]:
        def replace(match: re.Match) -> str:
            target = match["target"]
            if re.match(r"[a-z][a-z+]*:", target):
                return match[0]
            path, _, anchor = target.partition("#")
            found = self._page(file, (file.parent / path).resolve() if path else file, anchor)
            if found is None:
                self.broken.append(f"{file.relative_to(ROOT).as_posix()}: {target}")
                return match[0]
            if found.startswith("source/"):
                up = "../" * self.names[file].count("/")
                return f'<a href="{up}{found}">{match["text"]}</a>'
            return f"[{match['text']}]({found})"

        return replace

    def _page(self, file: Path, target: Path, anchor: str) -> str | None:
        target = target / "README.md" if (target / "README.md").is_file() else target
        if target in self.names:
            if not anchor:
                return f"/{self.names[target]}.md"
            known = anchor in slugs(target.read_text(encoding="utf-8"))
            here = "" if target == file else f"/{self.names[target]}.md"
            return f"{here}#{anchor}" if known else None
        if not target.is_file() or not target.is_relative_to(ROOT):
            return None
        name = target.relative_to(ROOT).as_posix()
        self.sources.add(name)
        return f"source/{name}.html"


def source_page(name: str) -> str:
    """Render a source file as HTML, which is a minute faster than with Sphinx.

    Args:
        name (str): Its path in the repository.

    Returns:
        str: HTML.
    """
    up = "../" * (name.count("/") + 1)
    try:
        lexer = get_lexer_for_filename(name)
    except ClassNotFound:
        lexer = TextLexer()
    code = highlight((ROOT / name).read_text(encoding="utf-8"), lexer, HtmlFormatter())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<link rel="stylesheet" href="{up}_static/source.css"></head><body>'
        f'<p><a href="{up}index.html">smallvit</a> / <code>{name}</code></p>{code}</body></html>\n'
    )


def make() -> tuple[dict[str, str], Links]:
    """Generate all pages.

    Returns:
        tuple[dict[str, str], Links]: Texts by page, and where their links lead.
    """
    found = pages()
    links = Links({path.resolve(): name for name, path in found.items()})
    texts = {}
    for name, path in found.items():
        text = path.read_text(encoding="utf-8")
        if name == "zoo":
            text += zoo.table(ROOT)
        if name in READMES and name.startswith("systems/"):
            figure = f"![The idea of the paper](/figures/{Path(name).name}.svg)"
            text = re.sub(r"(^# .+\n)", rf"\1\n{figure}\n", text, count=1)
        texts[name] = links.resolve(text, path.resolve())
    return texts, links


def write(path: Path, text: str) -> Path:
    """Write a file only if it has changed, so that Sphinx does not rebuild it.

    Args:
        path (Path): The file.
        text (str): Its content.

    Returns:
        Path: The file.
    """
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def main() -> None:
    """Write the pages, figures and sources."""
    out = Path(sys.argv[1])
    texts, links = make()
    if links.broken:
        sys.exit("links that lead nowhere:\n" + "\n".join(links.broken))
    written = {write(out / f"pages/{name}.md", text) for name, text in texts.items()}
    for name, figure in figures.FIGURES.items():
        written.add(write(out / f"pages/figures/{name}.svg", figure().svg()))
    written |= {
        write(out / f"extra/source/{name}.html", source_page(name)) for name in links.sources
    }
    written.add(
        write(out / "extra/_static/source.css", SOURCE_STYLE + HtmlFormatter().get_style_defs())
    )
    for folder in ("pages", "extra"):
        for path in set((out / folder).rglob("*.*")) - written:
            path.unlink()


if __name__ == "__main__":
    main()
