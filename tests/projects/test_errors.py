"""Exception hierarchy and error messages."""

import inspect

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from smallvit import errors
from smallvit.errors import CheckpointError, ConversionError, SmallvitError, about
from smallvit.explain import explain


def test_every_public_error_has_the_one_root_and_no_other():
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    found = [cls for cls in found if issubclass(cls, BaseException)]
    assert len(found) > 10
    for cls in found:
        assert issubclass(cls, SmallvitError)
        assert [base for base in cls.__mro__ if not base.__module__.startswith("smallvit")] == [
            *(Exception, BaseException, object),
        ]


def test_an_error_begins_with_what_it_is_about():
    original = ConversionError("1 unknown key", ["a"], [])

    def read():
        with about("model.pth"):
            raise original

    with pytest.raises(ConversionError, match=r"^model\.pth: 1 unknown key$") as caught:
        read()
    assert caught.value is original
    assert caught.value.unknown_keys == ["a"]


def test_foreign_errors_are_not_changed():
    with pytest.raises(KeyError, match=r"^'a'$"), about("model.pth"):
        {}["a"]


def test_data_errors_name_their_config_key(tmp_path):
    dataset = dict(type="smallvit.ClassFolders", data_root=str(tmp_path / "none"))
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    with pytest.raises(SmallvitError) as caught:
        DATASETS.build(cfg.train_dataloader.dataset)
    message = explain(caught.value, cfg)
    assert message.startswith(f"folder {tmp_path / 'none'} does not exist")
    assert message.endswith(" (config key train_dataloader.dataset)")


def test_other_errors_are_not_changed():
    assert explain(CheckpointError("a.pth: damaged")) == "a.pth: damaged"
