"""Key maps: templates, joined tensors, computed entries, completeness."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smallvit.converters import Computed, KeyMap, Rule, concat, split
from smallvit.converters.templates import Template

index = st.integers(0, 30)


@given(stage=index, block=index)
def test_template_round_trip(stage, block):
    template = Template("block{stage+1}.{block}.norm.weight")
    key = template.format({"stage": stage, "block": block})
    assert key == f"block{stage + 1}.{block}.norm.weight"
    assert template.match(key) == {"stage": stage, "block": block}


@pytest.mark.parametrize("key", ["block0.1.w", "block1.x.w", "block1.1.ww", "xblock1.1.w"])
def test_template_refuses(key):
    assert Template("block{stage+1}.{block}.w").match(key) is None


def test_an_index_used_twice_must_agree():
    template = Template("{i}.sub.{i}")
    assert template.match("2.sub.2") == {"i": 2}
    assert template.match("2.sub.3") is None


def fused_map():
    return KeyMap(
        "fused",
        [
            Rule(
                ("b.{i}.q.{affine}", "b.{i}.kv.{affine}"),
                "blocks.{i}.qkv.{affine}",
                forward=concat,
                backward=split(1, 2),
            ),
            Rule("b.{i}.scale", "blocks.{i}.gamma", optional=True),
            Rule("b.{i}.n.{bn}", "blocks.{i}.norm.{bn}", optional=True),
            Computed(
                source="b.{i}.mask",
                make=lambda named, state: torch.zeros(2) if named["i"] % 2 else None,
            ),
            Computed(target="blocks.{i}.index", make=lambda named, state: torch.arange(3)),
        ],
    )


def official(blocks=3):
    state = {"b.0.scale": torch.randn(2), "b.1.mask": torch.zeros(2)}
    for i in range(blocks):
        state |= {f"b.{i}.q.weight": torch.randn(2, 2), f"b.{i}.q.bias": torch.randn(2)}
        state |= {f"b.{i}.kv.weight": torch.randn(4, 2), f"b.{i}.kv.bias": torch.randn(4)}
    return state


def test_join_split_and_computed_round_trip():
    state = official()
    there = fused_map().forward(state)
    assert there.accepted
    assert there.computed == ["b.1.mask"]
    assert there.state["blocks.2.qkv.weight"].shape == (6, 2)
    assert torch.equal(there.state["blocks.2.index"], torch.arange(3))
    back = fused_map().backward(there.state)
    assert back.accepted
    assert sorted(back.computed) == [f"blocks.{i}.index" for i in range(3)]
    assert set(back.state) == set(state)
    assert all(torch.equal(back.state[key], state[key]) for key in state)


@given(lost=st.sampled_from(sorted(k for k in official() if ".q." in k or ".kv." in k)))
def test_each_part_of_a_joined_tensor_is_required(lost):
    state = official()
    del state[lost]
    result = fused_map().forward(state)
    assert result.missing == [lost]


def test_a_gap_in_the_numbers_is_missing():
    state = {key: value for key, value in official().items() if not key.startswith("b.1.")}
    result = fused_map().forward(state)
    assert len(result.missing) == 4
    assert all(key.startswith("b.1.") for key in result.missing)


def test_optional_rules_are_whole_or_absent():
    state = official() | {"b.1.n.weight": torch.ones(2)}
    result = fused_map().forward(state)
    assert "b.1.n.running_var" in result.missing
    assert len(result.missing) == 4


def test_nothing_of_a_required_rule_is_missing_too():
    result = fused_map().forward({"other": torch.ones(1)})
    assert result.unknown == ["other"]
    assert "b.0.q.weight" in result.missing
    assert not result.accepted


def test_spans_tie_lengths_in_both_directions():
    key_map = KeyMap(
        "spans",
        [
            Rule("s.{stage}.w", "stages.{stage}.w"),
            Rule("m.{merge}.w", "merges.{merge}.w"),
        ],
        spans={"merge": ("stage", -1)},
    )
    tensor = torch.ones(1)
    three_two = {f"s.{i}.w": tensor for i in range(3)} | {f"m.{i}.w": tensor for i in range(2)}
    assert key_map.forward(three_two).accepted
    del three_two["m.1.w"]
    assert key_map.forward(three_two).missing == ["m.1.w"]
    assert key_map.forward({"s.0.w": tensor, "m.0.w": tensor}).missing == ["s.1.w"]
    assert key_map.forward({"s.0.w": tensor}).accepted
