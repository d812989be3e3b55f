"""Config files given by path and by address."""

import os.path as osp

import pytest

from smallvit.bench.methods import parse_method
from smallvit.engine.config_files import find_config, read_config
from smallvit.errors import UserError


@pytest.mark.parametrize(
    "address",
    ["smallvit::dwnet/dwnet-t_in1k.py", "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"],
)
def test_an_address_is_a_file(address):
    path = find_config(address)
    assert osp.isfile(path)
    assert path.endswith(address.partition("::")[2])


def test_an_address_is_read_as_its_file():
    by_address = read_config("smallvit::dwnet/dwnet-mini_digits.py")
    by_path = read_config(find_config("smallvit::dwnet/dwnet-mini_digits.py"))
    assert by_address.to_dict() == by_path.to_dict()
    assert osp.basename(by_address.filename) == "dwnet-mini_digits.py"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("smallvit::dwnet/dwnet-t_in1.py", "did you mean smallvit::dwnet/dwnet-t_in1k.py"),
        ("smallvit::nothing/x.py", "no such config file: smallvit::nothing/x.py"),
        ("nopackage::x.py", "nopackage::x.py: a config requires the package 'nopackage'"),
    ],
)
def test_wrong_addresses_are_named(address, said):
    with pytest.raises(UserError) as error:
        find_config(address)
    assert said in str(error.value)


def test_the_bench_takes_addresses():
    method = parse_method("smallvit::dwnet/dwnet-mini_digits.py+shortcut")
    assert method.base == "smallvit::dwnet/dwnet-mini_digits.py"
    with pytest.raises(UserError, match=r"--methods smallvit::no\.py: no such config file"):
        parse_method("smallvit::no.py")
