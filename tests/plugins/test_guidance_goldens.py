"""Guidance losses and their gradients, compared with the official code."""

from functools import cache

import pytest
import torch
from mmengine.registry import DefaultScope

from config_helpers import read_config
from goldens import assert_tensor_close, fill, load_golden, reference_state
from smallvit.converters import convert
from smallvit.registry import MODELS

GOLDEN = load_golden("guidance_deit_ti")
# Name in the reference, our name.
KEYS = {
    "patch_embed.projection.weight": "backbone.patch_embed.projection.weight",
    "pos_embed": "backbone.pos_embed",
    "layers.0.attn.qkv_transform.weight": "backbone.layers.0.attn.qkv.weight",
    "layers.6.mlp.fc1.weight": "backbone.layers.6.ffn.layers.0.0.weight",
    "layers.11.mlp.fc2.weight": "backbone.layers.11.ffn.layers.1.weight",
}
KEYS |= {
    f"feature_transforms.{i}.{name}": f"guidance.projections.{i}.{name}"
    for i in range(3)
    for name in ("weight", "bias")
}


@cache
def drawn(part: str) -> dict[str, torch.Tensor]:
    """Draw the weights of the reference once; tests copy them."""
    return reference_state(GOLDEN, f"{part}_state_dict")


def build(transform: str, batch_statistics: bool):
    model = read_config("locality_guidance/deit-ti_cifar100.py").model
    model.backbone.drop_path_rate = 0.0
    teacher = read_config("locality_guidance/resnet-56_cifar100.py").model
    teacher = dict(model=teacher, batch_statistics=batch_statistics)
    guidance = dict(teacher=teacher, transform=transform)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        classifier = MODELS.build(dict(model, type="smallvit.GuidedClassifier", guidance=guidance))
    classifier.load_state_dict(convert("locality_guidance", drawn("student")))
    guide = classifier.guidance
    weights = convert("locality_guidance", drawn("teacher"))
    prefix = "backbone."
    guide.teacher.model.load_state_dict(
        {key.removeprefix(prefix): value for key, value in weights.items() if prefix in key}
    )
    guide.teacher.loaded = True
    for key, value in drawn("feature_transforms").items():
        _, index, name = key.split(".")
        if transform == "linear":
            guide.projections[int(index)].load_training_state({name: value})
    return classifier


#: Transforms do not depend on the mode; for the networks, whose norms do, "linear" is tested too.
CASES = [
    pytest.param(
        *(transform, mode),
        marks=[pytest.mark.exhaustive] if (mode, transform != "linear") == ("eval", True) else [],
    )
    for transform in ("linear", "attention", "similarity")
    for mode in ("eval", "train")
]


@pytest.mark.parametrize(("transform", "mode"), CASES)
def test_losses_and_gradients(transform, mode):
    stored = GOLDEN["losses"][transform][mode]
    # The stored losses are float32, ours are float64.
    tolerance = 1e-5 + GOLDEN["fp64_max_rel_diff"][f"{transform}/{mode}"]
    # The reference uses batch statistics in the teacher's batch norms during training.
    classifier = build(transform, batch_statistics=mode == "train").double().train(mode == "train")
    guide = classifier.guidance
    guide.teacher.model.double()
    images = torch.from_numpy(fill.make_input(GOLDEN["input"]["shape"], GOLDEN["input"]["seed"]))
    images = images.double()
    with guide.recording():
        logits = classifier(images)
        maps, _ = guide.teacher(guide.teacher.preprocess(images))
        terms = guide.feature_losses(maps)
    assert_tensor_close(logits, GOLDEN["student"][mode]["logits"])
    if mode == "eval":  # 56 layers of batch statistics differ by 1.3e-5 between float32 and float64
        for found, expected in zip(maps, GOLDEN["teacher_features"][mode], strict=True):
            assert_tensor_close(found, expected)
    assert [term.item() for term in terms] == pytest.approx(
        stored["loss_inter_terms"], rel=tolerance
    )
    loss = sum(terms)
    assert loss.item() == pytest.approx(stored["loss_inter"], rel=tolerance)
    labels = torch.tensor(GOLDEN["input"]["labels"])
    total = torch.nn.functional.cross_entropy(logits, labels) + guide.loss_weight * loss
    assert total.item() == pytest.approx(stored["loss_total"], rel=tolerance)
    assert stored["grad_of"] == "loss_inter"
    loss.backward()
    parameters = dict(classifier.named_parameters())
    found = {key: parameters[KEYS[key]].grad.norm().item() for key in stored["grad_norms"]}
    assert found == pytest.approx(stored["grad_norms"], rel=1e-4)
