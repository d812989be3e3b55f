"""Table of supported backbones: reproducible rows and minimum numbers of hosts."""

from importlib import import_module
from pathlib import Path

import pytest
import timm

import smallvit
from smallvit.apis.host_page import as_line, as_page, read_page
from smallvit.apis.host_table import LIBRARIES, USES, HostRow, look, names
from smallvit.cli import hosts
from smallvit.errors import UserError
from smallvit.utils.versions import release

#: Page of the documentation, written by `smallvit hosts`.
ROWS = read_page(Path(smallvit.__file__).parent / "hosts" / "BACKBONES.md")
#: Minimum number of hosts in each library.
PROMISED = {"mmpretrain": 50, "mmdet": 15, "mmseg": 22, "timm": 65}


@pytest.fixture(scope="module")
def host():
    return look("mmpretrain", "ResNet")


@pytest.fixture(scope="module")
def other():
    return look("mmpretrain", "LeNet5")


def test_a_host_and_a_non_host(host, other):
    assert host.what == "2+1+1+1 blocks, BCHW"
    assert host.uses["shortcut"] == host.uses["student"] == host.uses["detector"] == "yes"
    assert host.works
    assert not other.works
    assert "no module with layers" in other.what


def test_a_page_is_read_as_it_was_written(host, other, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(as_page([other, host]))
    assert read_page(page) == [other, host]
    assert as_page(read_page(page)) == page.read_text()
    assert "mmpretrain, of 2: shortcut 1" in page.read_text()


def test_the_command_prints_rows_and_resumes(capsys, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    seen = []

    def fake(library, name):
        seen.append(name)
        return HostRow(library, name, "", dict.fromkeys(USES, "yes"))

    monkeypatch.setattr("smallvit.apis.host_table.look", fake)
    hosts.main(["--library", "mmpretrain", "--only", "lenet5", "--out", str(page)])
    assert as_line(fake("mmpretrain", "LeNet5")) in capsys.readouterr().out
    hosts.main(["--library", "mmpretrain", "--only", "net5", "--out", str(page), "--missing"])
    assert seen == ["LeNet5", "LeNet5"]
    hosts.main(["--library", "mmpretrain", "--only", "densenet", "--out", str(page), "--missing"])
    assert seen[2:] == ["DenseNet"]
    assert [row.name for row in read_page(page)] == ["DenseNet", "LeNet5"]
    hosts.main(["--library", "mmpretrain", "--only", "lenet5", "--only", "densenet"])
    assert sorted(seen[3:]) == ["DenseNet", "LeNet5"]
    with pytest.raises(UserError, match="no backbone of mmdet contains 'lenet5'"):
        hosts.main(["--library", "mmdet", "--only", "lenet5"])
    with pytest.raises(SystemExit):
        hosts.main(["--missing"])


def test_all_classes_are_there():
    assert tuple(LIBRARIES) == hosts.LIBRARIES
    assert {"ResNet", "HRNet"} <= set(names("mmdet")) & set(names("mmseg"))
    assert "swin_transformer" in names("timm")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_number_of_hosts_is_at_least_the_promised_one(library):
    on_page = {row.name: row for row in ROWS if row.library == library}
    if library == "timm" and release(timm.__version__) < (1, 0, 31):
        assert set(names(library)) < set(on_page)  # the page lists the classes of that version
    else:
        assert sorted(on_page) == names(library)
    assert sum(row.works for row in on_page.values()) >= PROMISED[library]


def told(row):
    """Return a row without its reasons, whose wording depends on library versions."""
    return {use: found == "yes" for use, found in row.uses.items()}, row.works and row.what


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.library}-{row.name}")
def test_it_is_as_the_page_says(row):
    assert told(look(row.library, row.name)) == told(row)


def test_the_row_changes_if_a_class_stops_working(host, monkeypatch):
    row = next(r for r in ROWS if (r.library, r.name) == (host.library, host.name))
    assert told(host) == told(row)
    cls = import_module("mmpretrain.models.backbones").ResNet
    forward = cls.forward
    monkeypatch.setattr(cls, "forward", lambda self, x: [y.detach() for y in forward(self, x)])
    broken, _ = told(look(host.library, host.name))
    assert not broken["shortcut"]
    assert not broken["detector"]
