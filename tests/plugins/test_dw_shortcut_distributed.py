"""Shortcuts and taps in two processes: their combined gradients equal those of the whole batch."""

import multiprocessing
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from smallvit.backbones import DHVT
from smallvit.hosts import Taps
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts

ARCH = dict(embed_dims=8, num_layers=4, num_heads=2, feedforward_channels=16)


def build(with_cp):
    torch.manual_seed(0)
    # Without batch norm, whose statistics are local to a process, the gradients add up exactly.
    host = DHVT(ARCH, num_heads=2, img_size=32, with_sope=False, with_daff=False, with_cp=with_cp)
    return attach_dw_shortcuts(host, bypass=2, norm_cfg=None).train()


def guided_loss(model, taps, images):
    with taps:
        loss = model(images)[-1].square().mean()
        return loss + sum(m.square().mean() for m in taps.maps())


def train_on_half(rank, store, out, with_cp, images):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    host = build(with_cp)
    taps = Taps(host, [1, -1])
    model = DistributedDataParallel(host)
    for _ in range(2):
        model.zero_grad()
        guided_loss(model, taps, images[rank::2]).backward()
    torch.save({n: p.grad for n, p in host.named_parameters()}, f"{out}/{rank}.pth")
    dist.destroy_process_group()


@pytest.mark.parametrize("with_cp", [False, True])
def test_two_processes_agree_with_one(with_cp, tmp_path):
    torch.manual_seed(1)
    images = torch.randn(4, 3, 32, 48)
    # Forked, because a new interpreter would spend most of the test on imports.
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(
            target=train_on_half, args=(rank, tmp_path / "store", tmp_path, with_cp, images)
        )
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    host = build(with_cp)
    guided_loss(host, Taps(host, [1, -1]), images).backward()
    for rank in range(2):
        gradients = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        for name, parameter in host.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, msg=name)
