"""The table of hosts: its rows from a run, and as many hosts as were promised."""

import pytest

from smallvit.analysis.host_table import LIBRARIES, as_markdown, look, names, rows
from smallvit.cli import hosts
from smallvit.errors import UserError

#: Classes of each library that must be hosts, at least.
PROMISED = {"mmpretrain": 50, "mmdet": 15, "mmseg": 22, "timm": 65}


def test_a_host_and_what_is_none():
    host, other = look("mmpretrain", "ResNet"), look("mmpretrain", "LeNet5")
    assert (host.works, host.teaches, host.note) == (True, True, "2+1+1+1 blocks, BCHW")
    assert not other.works
    assert "ran once" in other.note
    table = as_markdown([host, other])
    assert table.startswith("mmpretrain: 1 of 2 are hosts\n")
    assert "| mmpretrain | ResNet | yes | yes | 2+1+1+1 blocks, BCHW |" in table


def test_the_verb_prints_the_rows_that_are_asked_for(capsys):
    hosts.main(["--library", "mmpretrain", "--only", "lenet5"])
    assert "mmpretrain: 0 of 1 are hosts" in capsys.readouterr().out
    with pytest.raises(UserError, match="no backbone of mmdet has 'lenet5'"):
        hosts.main(["--library", "mmdet", "--only", "lenet5"])


def test_all_classes_are_there():
    assert tuple(LIBRARIES) == hosts.LIBRARIES
    assert {"ResNet", "HRNet"} <= set(names("mmdet")) & set(names("mmseg"))
    assert "swin_transformer" in names("timm")


@pytest.mark.exhaustive
@pytest.mark.parametrize("library", LIBRARIES)
def test_as_many_are_hosts_as_promised(library):
    found = list(rows(library))
    print(as_markdown(found))
    assert sum(row.works for row in found) >= PROMISED[library]
