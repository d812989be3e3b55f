"""Dry-run discovery on unusual backbones: each is viewed correctly or rejected."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import smallvit
from odd_backbones import CASES, Vit
from smallvit import hosts
from smallvit.hosts import HostError, Taps, discovery, view, view_host
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr(discovery, "print_log", lambda message, *_, **__: said.append(message))
    return said


def built(case):
    torch.manual_seed(0)
    return case.build().eval()


TAKEN = [name for name, case in CASES.items() if case.blocks]
REFUSED = [name for name, case in CASES.items() if not case.blocks]


@pytest.mark.parametrize("name", TAKEN)
def test_correct_views(name, warned):
    case = CASES[name]
    host = built(case)
    state = copy.deepcopy(host.state_dict())
    view = view_host(host)
    assert all(torch.equal(state[key], value) for key, value in host.state_dict().items())
    assert "last_size" not in host.__dict__
    assert bool(warned) == bool(case.why)
    assert case.why in " ".join(warned)
    assert len(view) == case.blocks
    own = [block.module for block in view.blocks]
    images = torch.randn(2, 3, *case.size)
    with Taps(view, range(len(view))) as taps, torch.no_grad():
        host(images)
        maps = taps.maps()
    behind = {id(block): feature for block, feature in host.seen}
    for block, found in zip(own, maps, strict=True):
        assert torch.equal(found, behind[id(block)])


@pytest.mark.parametrize("name", TAKEN)
def test_shortcuts_on_odd_backbones(name, warned):
    case = CASES[name]
    bare = built(case)
    host = attach_dw_shortcuts(copy.deepcopy(bare), kernel_sizes=(3, 5), bypass=2)
    images = torch.randn(2, 3, *case.size)
    shortcuts = [each for stage in host.dw_shortcuts for each in stage]
    out = host(images)
    (out if torch.is_tensor(out) else out[0]).square().mean().backward()
    assert all(p.grad is not None for p in host.dw_shortcuts.parameters())
    assert any(p.grad.abs().sum() > 0 for p in shortcuts[0].parameters())
    for parameter in host.dw_shortcuts.parameters():
        nn.init.zeros_(parameter)
    expected, actual = bare(images), host(images)
    torch.testing.assert_close(actual, expected)
    assert len(view_host(host)) == case.blocks  # shortcuts do not count as blocks


@pytest.mark.parametrize("name", REFUSED)
def test_rejected_with_an_adapter_template(name):
    host = built(CASES[name])
    with pytest.raises(HostError, match=CASES[name].why) as error:
        view_host(host)
    assert "register_host(" in str(error.value)
    assert "HostBlock(block, " in str(error.value)


class Twice(Vit):
    """Each of its blocks runs twice."""

    def each_block(self):
        return 2 * super().each_block()


@pytest.mark.parametrize(("cls", "form"), [(Vit, "two tensors"), (Twice, "plain")])
def test_the_adapter_template_works(cls, form, monkeypatch):
    monkeypatch.setattr(view._HOSTS, "_known", dict(view._HOSTS._known))
    torch.manual_seed(0)
    host = cls(form, extra=1).eval()
    with pytest.raises(HostError) as error:
        view_host(host)
    lines = [line[2:] for line in str(error.value).splitlines() if line.startswith("  ")]
    source = "\n".join(lines).replace("net.patch_embed", "net.embed")
    exec(source, dict(vars(hosts), smallvit=smallvit))
    images = torch.randn(2, 3, 48, 80)
    expected = host(images)
    attach_dw_shortcuts(host)
    assert len(host.dw_shortcuts[0]) == 3
    shortcuts = list(host.dw_shortcuts.parameters())
    gradients = torch.autograd.grad(host(images).square().sum(), shortcuts)
    assert all(each.abs().sum() > 0 for each in gradients)
    for parameter in host.dw_shortcuts.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(host(images), expected)


@pytest.mark.exhaustive
@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(
        ["plain", "height, width", "width, height", "pair", "tuple", "dict", "tokens by name"]
    ),
    extra=st.integers(0, 3),
    behind=st.sampled_from([0, 0, 0, 1, 2]),
    joins=st.sampled_from([0, 0, 1, 2]),
    order=st.sampled_from(["rows", "rows", "rows", "columns", "snake", "windows", "reversed"]),
    hold=st.sampled_from(["list", "dict", "attributes", "nested"]),
    patch=st.sampled_from([4, 5, 8, 16]),
    embedding=st.sampled_from(["conv", "linear"]),
    mix=st.booleans(),
    seed=st.integers(0, 9),
)
def test_random_backbones_are_viewed_correctly_or_rejected(seed, **made_of):
    torch.manual_seed(seed)
    host = Vit(**made_of).eval()
    try:
        view = view_host(host)
    except HostError:
        # Standard cases, which an adapter would support, must not be rejected; unusual token orders
        # may be.
        assert made_of["order"] != "rows" or made_of["embedding"] == "linear"
        return
    with Taps(view, range(len(view))) as taps, torch.no_grad():
        host(torch.randn(2, 3, 48, 80))
        maps = taps.maps()
    for found, (_, feature) in zip(maps, host.seen, strict=True):
        assert torch.equal(found, feature)
