"""Host adapters: blocks, channels, stages, maps and extra tokens of every host."""

import pytest
import torch

from host_zoo import HOSTS
from smallvit.hosts import Taps, is_host, view_host


@pytest.mark.parametrize("name", HOSTS)
def test_maps_are_those_that_the_host_gives(name):
    torch.manual_seed(0)
    host = HOSTS[name]
    backbone = host.build()
    backbone.train(False)
    keys = set(backbone.state_dict())
    images = torch.randn(2, 3, *host.size)
    assert is_host(backbone)
    view = view_host(backbone)
    assert tuple(map(len, view.stages)) == host.stages
    taps = Taps(view, host.blocks)
    ends = Taps(view, [0, -1]), Taps(view, [0, -1], where="input")
    with torch.no_grad(), taps, ends[0], ends[1]:
        expected = host.maps(backbone, images)
        maps = taps.maps()
        for end in ends:
            for tokens, feature, index in zip(end.tokens(), end.maps(), (0, -1), strict=True):
                check_round_trip(view.blocks[index], tokens, feature, host.extra[index])
        assert len(maps) == len(expected)
        for i, (feature, output) in enumerate(zip(maps, expected, strict=True)):
            assert feature.shape[1] == view.channels[host.blocks[i]]
            torch.testing.assert_close(host.shape(backbone, i, feature), output)
    assert set(backbone.state_dict()) == keys


def check_round_trip(block, tokens, feature, num_extra):
    hw = tuple(feature.shape[2:])
    extra = block.extra_tokens(tokens, hw)
    assert (0 if extra is None else extra.shape[1]) == num_extra
    assert torch.equal(block.from_map(feature, extra), tokens)
    shifted = block.add_map(tokens, torch.ones_like(feature))
    assert torch.equal(block.to_map(shifted, hw), feature + 1)
    if num_extra:
        assert torch.equal(block.extra_tokens(shifted, hw), extra)


def test_position_embeddings_and_heads_do_not_count_as_blocks():
    view = view_host(HOSTS["CaiT"].build())
    assert [type(block.module).__name__ for block in view.blocks] == ["TransformerBlock"] * 3
