"""Overhead of early exit: one device synchronization per exit, and few additional operators."""

import functools
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
NUM_EXITS = 3
#: Python functions that copy values to the host. On a CPU, copying to the CPU is not an operator,
#: so functions and operators are both recorded.
READS = {"cpu", "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__array__"}
SHAPED_BY_VALUES = {"nonzero", "masked_select", "_local_scalar_dense", "is_nonzero", "equal"}
ALLOCATES_PER_IMAGE = {"index", "index_select", "index_copy_", "index_put_", "gather", "scatter"}


@functools.cache
def cascade(reuse=True):
    torch.manual_seed(0)
    patches = [dict(kernel_sizes=(p // 2, 1), strides=(p // 2, 2)) for p in (16, 8, 4)]
    exits = [
        dict(
            type="smallvit.T2TViT",
            arch=ARCH,
            img_size=32,
            token_dims=8,
            token_grid=dict(each, paddings=(0, 0)),
        )
        for each in patches
    ]
    backbone = dict(
        type="smallvit.DynamicViT", exits=exits, feature_reuse=reuse, relation_reuse=reuse
    )
    head = dict(type="smallvit.MultiExitHead", num_classes=5, in_channels=ARCH["embed_dims"])
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(
            dict(type="smallvit.MultiExitClassifier", backbone=backbone, head=head)
        )
    return model.eval()


class Reads(TorchFunctionMode):
    """Record calls that copy values to the host."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        to_cpu = name == "to" and any(str(each) == "cpu" for each in args[1:])
        if name in READS or (to_cpu and not (kwargs or {}).get("non_blocking")):
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


class Operators(TorchDispatchMode):
    """Count operators by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        returned = out if isinstance(out, (tuple, list)) else [out]
        held = {
            each.untyped_storage().data_ptr() for each in args if isinstance(each, torch.Tensor)
        }
        views = [
            each
            for each in returned
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() in held
        ]
        if not views or function._schema.is_mutable:
            self.counts[function.name().split("::")[1].split(".")[0]] += 1
        return out


def watch(run):
    """Return the host copies and operators of a function call, and its result."""
    with torch.no_grad(), Reads() as reads, Operators() as operators:
        result = run()
    return reads.counts, operators.counts, result


def let_leave(model, monkeypatch, exits):
    """Force the images of a batch to leave at given exits."""
    here = [np.array(exits)]

    def leaving(index, logits, threshold, last):
        out = here[0] == index
        here[0] = here[0][~out]
        return torch.from_numpy(out)

    monkeypatch.setattr(model, "_leaving", leaving)
    model.set_inference("budgeted", thresholds=[0.5] * model.num_exits)


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("exits", [[0], [1], [2], [2, 2, 2], [0, 2, 1, 0, 2, 0, 1, 2]])
def test_the_host_synchronizes_once_per_exit(exits, reuse, monkeypatch):
    model = cascade(reuse)
    images = torch.randn(len(exits), 3, 32, 32)
    let_leave(model, monkeypatch, exits)
    reads, operators, (_, taken) = watch(lambda: model.predict_budgeted(images))
    assert taken.tolist() == exits
    decisions = min(max(exits) + 1, NUM_EXITS - 1)
    assert reads == {"cpu": decisions}
    assert not SHAPED_BY_VALUES & set(operators)


@pytest.mark.parametrize("policy", ["max_softmax", "margin", "entropy"])
def test_policies_do_not_synchronize(policy):
    model = cascade()
    model.set_inference("budgeted", thresholds=[1.0] * NUM_EXITS, policy=policy)
    images = torch.randn(3, 3, 32, 32)
    reads, operators, _ = watch(lambda: model.predict_budgeted(images))
    assert reads == {"cpu": NUM_EXITS - 1}
    assert not SHAPED_BY_VALUES & set(operators)


@pytest.mark.parametrize("exits", [[1], [2], [1, 1, 1], [2, 2, 2]])
def test_no_selection_if_all_images_leave_at_the_same_exit(exits, monkeypatch):
    model = cascade()
    images = torch.randn(len(exits), 3, 32, 32)
    let_leave(model, monkeypatch, exits)
    _, budgeted, (logits, _) = watch(lambda: model.predict_budgeted(images))
    _, fixed, expected = watch(lambda: model.predict_fixed(images, exits[0]))
    assert torch.equal(logits, expected)
    assert not ALLOCATES_PER_IMAGE & set(budgeted - fixed)
    # In addition to the exits' own operators: the classifiers of the exits that the images pass.
    extra = budgeted - fixed
    extra.subtract(["addmm"] * exits[0])
    assert not +extra, extra


def test_remaining_images_are_selected_once_per_exit(monkeypatch):
    model = cascade()
    exits = [0, 2, 1, 0, 2]
    images = torch.randn(5, 3, 32, 32)
    let_leave(model, monkeypatch, exits)
    _, operators, _ = watch(lambda: model.predict_budgeted(images))
    # After each of two exits the images, their tokens and all attention logits; at the end the
    # results.
    assert operators["index_select"] == 2 * 3 + 1
    assert not (ALLOCATES_PER_IMAGE - {"index_select"}) & set(operators)


def test_predictions_need_no_further_synchronization(monkeypatch):
    model = cascade()
    exits = [0, 2, 1]
    images = torch.randn(3, 3, 32, 32)
    let_leave(model, monkeypatch, exits)
    reads, operators, samples = watch(lambda: model.predict(images))
    assert [sample.exit_index for sample in samples] == exits
    assert reads == {"cpu": NUM_EXITS - 1}
    assert not SHAPED_BY_VALUES & set(operators)
