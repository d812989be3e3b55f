"""Errors for heads and losses that do not match the classes of the data."""

import pytest
from torch import nn

from smallvit.engine.model_checks import count_fault, count_warning, heads_of, model_faults

NAMES = ("a", "b", "c")


class Loss(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        vars(self).update(settings)


class Head(nn.Module):
    def __init__(self, num_classes, loss=None, **settings):
        super().__init__()
        self.num_classes = num_classes
        vars(self).update(settings)
        self.loss_module = loss or Loss()


def model(**heads):
    found = nn.Module()
    for name, head in heads.items():
        setattr(found, name, head)
    return found


def test_which_heads_count():
    detector = model(rpn_head=Head(1), backbone=Head(7), head=Head(3), teacher=model(head=Head(9)))
    detector.roi_head = model(bbox_head=nn.ModuleList([Head(3), Head(3)]), mask_head=Head(3))
    assert list(heads_of(detector)) == [
        "model.head",
        "model.roi_head.bbox_head.0",
        "model.roi_head.bbox_head.1",
        "model.roi_head.mask_head",
    ]


def test_numbers_of_classes():
    heads = heads_of(model(head=Head(3), auxiliary_head=Head(2)))
    assert "model.auxiliary_head.num_classes is 2, but the data have 3" in count_fault(heads, NAMES)
    assert count_warning(heads, NAMES) is None
    heads = heads_of(model(head=Head(1000)))
    assert count_fault(heads, NAMES) is None
    assert "model.head.num_classes is 1000" in count_warning(heads, NAMES)
    assert "3 classes (a, b, c). Set it to 3" in count_warning(heads, NAMES)


@pytest.mark.parametrize("key", ["class_weight", "pos_weight"])
@pytest.mark.parametrize(("count", "right"), [(2, False), (3, True), (4, False)])
def test_weights_of_the_classes(key, count, right):
    faults = list(model_faults(model(head=Head(3, Loss(**{key: [1.0] * count}))), NAMES))
    assert (faults == []) == right
    if not right:
        assert f"expected 3 values in model.head.loss.{key}" in faults[0]
        assert f"got {count}" in faults[0]
        assert "in the order a, b, c" in faults[0]


@pytest.mark.parametrize(("count", "right"), [(3, False), (4, True)])
def test_weights_with_the_background(count, right):
    head = Head(3, Loss(class_weight=[1.0] * count, use_sigmoid=False), fc_cls=None)
    faults = list(model_faults(model(bbox_head=head), NAMES))
    assert (faults == []) == right
    assert right or "a, b, c, then the background" in faults[0]


@pytest.mark.parametrize("sigmoid", [True, False])
def test_one_output(sigmoid):
    head = Head(2, Loss(use_sigmoid=sigmoid), out_channels=1, conv_seg=None)
    faults = list(model_faults(model(decode_head=head), ("background", "blob")))
    assert (faults == []) == sigmoid
    assert sigmoid or "loss_decode=dict(use_sigmoid=True)" in faults[0]
