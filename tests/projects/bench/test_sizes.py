"""Width search for networks of equal size, and the resulting configs."""

import pytest
from mmengine.registry import init_default_scope

from smallvit.bench.measuring import fit
from smallvit.bench.methods import BASES, parse_method
from smallvit.bench.plan import BenchSettings
from smallvit.bench.recipe import model_config
from smallvit.bench.sizes import TARGETS, Fitted, find_width, step_of
from smallvit.engine.models import build_model

NAMES = [*BASES, "vit+shortcut"]


def settings(size, kind="params", target=None):
    target = target or TARGETS["small" if size <= 64 else "large"]
    return BenchSettings("/images", size, 16, True, "iters", 100, kind, target)


def parameters(name, size, width):
    init_default_scope("mmpretrain")
    cfg = dict(model=model_config(parse_method(name), size, 10, width))
    return sum(each.numel() for each in build_model(cfg).parameters())


class TestSearch:
    def test_networks_close_to_the_target_are_not_changed(self):
        assert find_width(lambda width: width * width or 92, 4, 100, 9) == Fitted(0, 92)

    @pytest.mark.parametrize("published", [4, 32, 200])
    def test_the_nearest_of_the_possible_widths(self, published):
        # 12^2 = 144 and 8^2 = 64: 144 / 100 = 1.44 and 100 / 64 = 1.56.
        square = lambda width: (width or published) ** 2  # noqa: E731
        assert find_width(square, 4, 100, published) == Fitted(12, 144)
        assert find_width(square, 1, 100, published) == Fitted(10, 100)

    def test_few_widths_are_measured(self):
        """The necks and heads of a detector do not depend on the width."""
        measured = []

        def size(width):
            measured.append(width)
            return 60_000 + 15 * (width or 32) ** 2

        assert find_width(size, 2, 300_000, 32) == Fitted(126, 298_140)
        assert len(measured) == len(set(measured)) < 15

    def test_targets_below_the_minimum_width(self):
        assert find_width(lambda width: 1000 + width, 4, 100, 64) == Fitted(4, 1004)


def test_every_mini_network_comes_within_a_tenth_of_the_target():
    found = fit(settings(32), [*NAMES, "timm:resnet18"], 10, None)
    assert set(found) == set(NAMES)  # timm models are not changed
    for name, each in found.items():
        # Parameters counted without weights equal those of the built network.
        assert parameters(name, 32, each["width"]) == each["size"]
        assert each["size"] == pytest.approx(0.25e6, rel=0.1), name
    # The others keep the networks of their configs.
    assert [name for name, each in found.items() if not each["width"]] == ["dhvt", "resnet"]


@pytest.mark.exhaustive
def test_every_published_network_comes_within_a_tenth_of_deit_tiny():
    found = fit(settings(224), ["dwnet", "dvt+shortcut", "resnet"], 10, None)
    for name, each in found.items():
        assert each["size"] == pytest.approx(5.7e6, rel=0.1), name


def test_flops_can_be_the_target():
    found = fit(settings(32, "flops", 10e6), ["vit", "dwnet"], 10, None)
    for each in found.values():
        assert each["size"] == pytest.approx(10e6, rel=0.1)


def test_a_cascade_has_one_width_for_all_exits():
    model = model_config(parse_method("dvt"), 32, 10, 48)
    assert {part.arch.embed_dims for part in model.backbone.exits} == {48}
    assert {part.arch.feedforward_channels for part in model.backbone.exits} == {96}
    assert model.head.in_channels == 48
    assert 48 % step_of(model_config(parse_method("dvt"), 32, 10)) == 0
