"""Documentation sources: links, figures, model zoo and front page, without Sphinx."""

import re
import sys
from xml.etree import ElementTree

import pytest
import yaml

from smallvit.cli.main import VERBS
from tool_helpers import ROOT


@pytest.fixture(scope="module")
def make_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        import make_pages

        yield make_pages
    for name in ("make_pages", "figures", "zoo"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def made(make_pages):
    return make_pages.make()


def test_all_links_resolve(made):
    texts, links = made
    assert links.broken == []
    assert {"index", "zoo", "systems/dhvt", "plugins/dw_shortcut", "api/apis"} <= set(texts)
    assert "projects/smallvit/analysis/complexity.py" in links.sources


def test_broken_links_are_found(make_pages):
    links = make_pages.Links({path.resolve(): name for name, path in make_pages.pages().items()})
    text = (
        "[a](configs/README.md#speed) [b](configs/README.md#no-such) [c](gone.py)\n"
        "```\n[d](in-code.py)\n```\n[e](https://arxiv.org) [f](setup.cfg)\n"
    )
    found = links.resolve(text, ROOT / "README.md")
    assert links.broken == ["README.md: configs/README.md#no-such", "README.md: gone.py"]
    assert "[a](/guides/configs.md#speed)" in found
    assert '<a href="source/setup.cfg.html">f</a>' in found


def test_anchors_are_those_of_the_headings(make_pages):
    text = "# A `b`: c?\n```\n# no heading\n```\n## [Same](x.md)\n## Same\n"
    assert make_pages.slugs(text) == ["a-b-c", "same", "same-1"]


def test_each_readme_is_a_page(make_pages):
    folders = ("configs", "configs/*", "plugins/*", "projects/smallvit/*")
    readmes = {ROOT / "README.md", *(p for f in folders for p in ROOT.glob(f"{f}/README.md"))}
    # Symlinks in the package point to the same files.
    assert {p.resolve() for p in readmes} <= {p.resolve() for p in make_pages.pages().values()}


def test_the_zoo_has_each_model_of_the_metafiles(made):
    text = made[0]["zoo"]
    for name in yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]:
        for model in yaml.safe_load((ROOT / name).read_text())["Models"]:
            assert f'| <a href="source/{model["Config"]}.html">{model["Name"]}</a> |' in text
    assert "Top 1 Accuracy 81.2" in text


def test_each_system_has_a_figure_that_fits_its_frame(make_pages, made):
    for name, figure in make_pages.figures.FIGURES.items():
        root = ElementTree.fromstring(figure().svg())
        width, height = (float(root.get(key)) for key in ("width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(box.get("x", 0)) + float(box.get("width")) <= width, name
            assert float(box.get("y", 0)) + float(box.get("height")) <= height, name
        assert f"/figures/{name}.svg" in made[0][f"systems/{name}"]


def test_the_front_page_answers_ten_questions(made):
    section = made[0]["index"].partition("## Where is")[2].partition("```{toctree}")[0]
    rows = re.findall(r"^\| (.+\?) \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == 10
    assert all("](" in answer or "href=" in answer for _, answer in rows)


def test_commands_have_verbs_and_flags_that_exist(made):
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("projects/smallvit/cli", "tools")
        for path in (ROOT / folder).rglob("*.py")
    )
    texts = {name: text for name, text in made[0].items() if name.startswith("tutorials/")}
    assert len(texts) == 9
    for name, text in texts.items():
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.partition("#")[0].split()
                if words[:1] != ["smallvit"]:
                    continue
                assert words[1] in VERBS, (name, line)
                for flag in re.findall(r"--[a-z][a-z-]+", line):
                    assert f'"{flag}"' in code, (name, line, flag)
