"""Class weights, computed from counts or given by name, and recall metrics."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmpretrain.structures import DataSample

from smallvit.engine.class_recall import ClassRecall
from smallvit.engine.class_weights import counted_weights, resolve_class_weights
from smallvit.engine.hooks import ClassRecallHook
from smallvit.errors import UserError

COUNTS = dict(cat=2, dog=4, fox=14)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "train"
    for name, count in COUNTS.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / name / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    return root.parent


def config(images, **loss):
    dataset = dict(type="smallvit.ClassFolders", data_root=str(images), held_out=0.2)
    loss = dict(type="CrossEntropyLoss", **loss)
    return Config(
        dict(
            default_scope="mmpretrain",
            model=dict(type="ImageClassifier", head=dict(num_classes=3, loss=loss)),
            train_dataloader=dict(dataset=dataset),
        )
    )


def settled(images, **loss):
    cfg = config(images, **loss)
    resolve_class_weights(cfg)
    return cfg.model.head.loss


def test_balanced_is_the_inverse_of_the_counts():
    # As scikit-learn's compute_class_weight: images / (classes * images of the class).
    assert counted_weights("balanced", [2, 4, 14]) == pytest.approx([10 / 3, 5 / 3, 10 / 21])


def test_effective_lies_between_equal_and_balanced():
    rare, frequent = counted_weights("effective", [10, 10000])
    assert 1 < rare / frequent < 1000
    assert rare / frequent == pytest.approx((1 - 0.999**10000) / (1 - 0.999**10))
    assert (10 * rare + 10000 * frequent) / 10010 == pytest.approx(1)


def test_a_class_without_images_has_weight_zero():
    assert counted_weights("balanced", [5, 0, 5]) == [1, 0, 1]


def test_training_images_are_counted(images):
    """Images held out for validation (20% of each class) are not counted."""
    from smallvit.datasets import ClassFolders

    labels = ClassFolders(str(images)).get_gt_labels().tolist()
    counts = [labels.count(index) for index in range(3)]
    weights = settled(images, class_weight="balanced").class_weight
    assert weights == pytest.approx([sum(counts) / (3 * count) for count in counts])


def test_weights_by_name(images):
    weights = settled(images, class_weight=ConfigDict(dog=3)).class_weight
    assert weights == [1.0, 3.0, 1.0]


def test_positive_weights(images):
    found = settled(images, use_sigmoid=True, pos_weight="balanced").pos_weight
    assert found[0] > found[1] > 1 > found[2]


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (
            dict(wolf=2),
            r"model\.head\.loss\.class_weight contains wolf, but the classes are cat, dog",
        ),
        (dict(dog=-1), r"class_weight\['dog'\] to be a number >= 0, got -1"),
        (dict(dog="2"), r"class_weight\['dog'\] to be a number >= 0, got '2'"),
        ("balancd", r"class_weight to be 'balanced' or 'effective', .* got 'balancd'"),
    ],
)
def test_invalid_weights_are_rejected(images, weight, words):
    with pytest.raises(UserError, match=words):
        settled(images, class_weight=weight)


@pytest.mark.parametrize("weight", ["effective", dict(dog=2)])
def test_positive_weights_that_are_refused(images, weight):
    with pytest.raises(UserError, match=r"pos_weight to be 'balanced'"):
        settled(images, use_sigmoid=True, pos_weight=weight)


def test_other_heads_take_lists(images):
    cfg = config(images)
    cfg.model.decode_head = dict(loss_decode=dict(class_weight="balanced"))
    with pytest.raises(UserError, match=r"model\.decode_head\.loss_decode\.class_weight = 'bal"):
        resolve_class_weights(cfg)


def test_numbers_and_files_are_not_changed(images):
    cfg = config(images, class_weight=[1.0, 2.0, 3.0])
    cfg.model.decode_head = dict(loss_decode=dict(class_weight="weights.json"))
    before = cfg.to_dict()
    resolve_class_weights(cfg)
    assert cfg.to_dict() == before


def sample(label, predicted):
    one = DataSample().set_gt_label(label).set_pred_label(predicted)
    return one.to_dict()


def recalls(pairs, **settings):
    metric = ClassRecall(**settings)
    metric.dataset_meta = dict(classes=("cat", "dog", "fox"))
    metric.process({}, [sample(*pair) for pair in pairs])
    return metric.evaluate(len(pairs))


PAIRS = [(0, 0)] * 8 + [(1, 0)] * 2 + [(1, 1)] * 2


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    assert recalls(PAIRS) == {
        "recall/balanced_accuracy": 75.0,
        "recall/cat": 100.0,
        "recall/dog": 50.0,
    }


def test_it_is_silent_for_balanced_classes():
    assert recalls([(0, 0), (0, 0), (1, 0)], min_ratio=2.5) == {}
    assert recalls(PAIRS, min_ratio=2)


class Part:
    def __init__(self, **values):
        vars(self).update(values)


def test_the_hook_only_adds_it_to_top1():
    from mmpretrain.evaluation import Accuracy, MultiLabelMetric

    top1, other = Accuracy(topk=(1, 5)), MultiLabelMetric()
    loops = [Part(evaluator=Part(metrics=[metric])) for metric in (top1, other)]
    runner = Part(_val_loop=loops[0], _test_loop=loops[1])
    ClassRecallHook().before_run(runner)
    ClassRecallHook().before_run(runner)
    assert [type(one) for one in loops[0].evaluator.metrics] == [Accuracy, ClassRecall]
    assert loops[1].evaluator.metrics == [other]
    ClassRecallHook(enabled=False).before_run(Part())


@pytest.mark.parametrize(("counts", "reported"), [((5, 2), True), ((4, 2), False)])
def test_imbalanced_training_images_count_as_well(counts, reported):
    """Validation images are often equally many in each class."""
    from mmpretrain.evaluation import Accuracy

    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    dataset = LabelList(labels)
    runner = Part(
        _train_loop=Part(dataloader=Part(dataset=dataset)),
        _val_loop=Part(evaluator=Part(metrics=[Accuracy()])),
        _test_loop=None,
    )
    ClassRecallHook().before_run(runner)
    metric = runner._val_loop.evaluator.metrics[1]
    metric.process({}, [sample(0, 0), sample(1, 0)])
    assert bool(metric.evaluate(2)) is reported


class LabelList(list):
    """Dataset of labels only."""

    def get_data_info(self, index):
        return {"gt_label": self[index]}


def test_losses_accept_class_weights(images):
    from mmpretrain.models import build_head  # noqa: F401 registers the losses
    from mmpretrain.registry import MODELS

    loss = MODELS.build(settled(images, class_weight="balanced"))
    logits = torch.zeros(2, 3)
    rare, frequent = (loss(logits, torch.full((2,), label)) for label in (0, 2))
    assert rare > frequent


@pytest.mark.parametrize("weight", ["balanced", dict(cat=2.0), [1.0, 2.0, 3.0]])
def test_the_loss_of_the_head_where_the_config_names_none(images, weight):
    cfg = config(images)
    cfg.model.head = dict(type="LinearClsHead", num_classes=3, loss=dict(class_weight=weight))
    resolve_class_weights(cfg)
    assert cfg.model.head.loss.type == "CrossEntropyLoss"
    assert len(cfg.model.head.loss.class_weight) == 3


def test_the_loss_of_a_head_of_several_labels(images):
    cfg = config(images)
    loss = dict(pos_weight=[1.0, 2.0, 3.0])
    cfg.model.head = dict(type="MultiLabelLinearClsHead", num_classes=3, loss=loss)
    resolve_class_weights(cfg)
    assert cfg.model.head.loss.use_sigmoid
