"""Add depth-wise convolution shortcuts to any host, from Python or from a config."""

from collections.abc import Iterable, Sequence

from torch import nn

from smallvit.hosts import HostView, mark_guest, view_host
from smallvit.layers.window_masks import cache_window_masks
from smallvit.plugins.dw_shortcut.bypass import Bypass
from smallvit.plugins.dw_shortcut.module import DepthwiseShortcut
from smallvit.registry import MODELS


def attach_dw_shortcuts(
    host: nn.Module,
    kernel_sizes: int | Sequence[int] = 3,
    bypass: int = 1,
    blocks: Iterable[int] | None = None,
    stages: Iterable[int] | None = None,
    with_last: bool = True,
    act_cfg: dict | None = dict(type="GELU"),  # noqa: B006
    norm_cfg: dict | None = dict(type="BN"),  # noqa: B006
) -> nn.Module:
    """Add depth-wise convolution shortcuts to a backbone, in place.

    A shortcut applies activation, norm and depth-wise convolution to the patch tokens at the
    input of a block, arranged as a map, and adds the result to the output of that block or of a
    later one; class and distillation tokens are unchanged. Parameter names of the host are
    preserved; those of the shortcuts are ``dw_shortcuts.{stage}.{number}.branches.*``.
    If the host's ``frozen_stages`` freeze all blocks that a shortcut bypasses, the shortcut is
    frozen too.

    From `Depth-Wise Convolutions in Vision Transformers for Efficient Training on Small
    Datasets <https://arxiv.org/abs/2407.19394>`_.

    Args:
        host (nn.Module): A backbone that :mod:`smallvit.hosts` supports.
        kernel_sizes (int | Sequence[int]): Odd kernel sizes, one parallel branch of each
            shortcut per size; () makes the shortcut an identity. Defaults to 3.
        bypass (int): Number of blocks that one shortcut bypasses. Shortcuts do not cross
            stages or gaps in ``blocks``, so the last of a run may bypass fewer.
            Defaults to 1.
        blocks (Iterable[int], optional): Indices of the blocks to bypass, over the whole host;
            negative indices count from the end. Defaults to None, all.
        stages (Iterable[int], optional): Indices of the stages whose blocks are bypassed.
            Defaults to None, all.
        with_last (bool): Whether the last block of the host is bypassed too. If only the
            class token of its output is used, that shortcut has no effect and receives no
            gradient. Defaults to True, as published.
        act_cfg (dict, optional): Config of the activation; None disables it. Defaults to
            ``dict(type="GELU")``.
        norm_cfg (dict, optional): Config of the norm before each convolution; None disables
            it. Defaults to ``dict(type="BN")``.

    Returns:
        nn.Module: ``host``.

    Raises:
        HostError: If the backbone is not a host.
        ValueError: If an argument does not match the host, or the host already has shortcuts.
    """
    view = view_host(host)
    if hasattr(host, "dw_shortcuts"):
        raise ValueError(f"{type(host).__name__} already has shortcuts. Build a new backbone")
    sizes = _check_sizes(kernel_sizes)
    runs = group_blocks(view, bypass, blocks, stages, with_last)
    frozen = view.frozen_blocks()
    modules = nn.ModuleList(nn.ModuleList() for _ in view.stages)
    for run in runs:
        first, last = view.blocks[run[0]], view.blocks[run[-1]]
        shortcut = DepthwiseShortcut(first.channels, sizes, act_cfg, norm_cfg)
        modules[first.stage].append(shortcut)
        if frozen.issuperset(run):
            shortcut.freeze()
        Bypass(shortcut, first, last).place()
    view.watch()
    mark_guest(modules)
    host.dw_shortcuts = modules
    cache_window_masks(host)
    return host


def _check_sizes(kernel_sizes: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (kernel_sizes,) if isinstance(kernel_sizes, int) else tuple(kernel_sizes)
    if any(size < 1 or size % 2 == 0 for size in sizes):
        raise ValueError(
            f"expected kernel_sizes to be odd, which keeps the size, e.g. 3 or (3, 5), or () for "
            f"the identity, got {kernel_sizes!r}"
        )
    return sizes


def group_blocks(
    view: HostView,
    bypass: int,
    blocks: Iterable[int] | None,
    stages: Iterable[int] | None,
    with_last: bool,
) -> list[tuple[int, ...]]:
    """Group the blocks to bypass into runs of consecutive blocks.

    Args:
        view (HostView): View of the host.
        bypass (int): Maximum length of a run.
        blocks (Iterable[int], optional): Indices of the blocks to bypass, None for all.
        stages (Iterable[int], optional): Only blocks of these stages are bypassed, None for all.
        with_last (bool): Whether the last block of the host is bypassed.

    Returns:
        list[tuple[int, ...]]: Indices of the blocks of each run.

    Raises:
        ValueError: If an index is out of range for the host, or no block is left to bypass.
    """
    if bypass < 1:
        raise ValueError(f"expected bypass >= 1, got {bypass}")
    wanted = {view.index(i) for i in (range(len(view)) if blocks is None else blocks)}
    if stages is not None:
        wanted &= {i for stage in _check_stages(view, stages) for i in view.stages[stage]}
    if not with_last:
        wanted.discard(len(view) - 1)
    if not wanted:
        raise ValueError(
            f"blocks={blocks}, stages={stages} and with_last={with_last} select none of the "
            f"{len(view)} blocks of {type(view.host).__name__}"
        )
    runs: list[tuple[int, ...]] = []
    for i in sorted(wanted):
        run = runs[-1] if runs else ()
        follows = run and run[-1] == i - 1 and view.blocks[i].stage == view.blocks[i - 1].stage
        if follows and len(run) < bypass:
            runs[-1] = (*run, i)
        else:
            runs.append((i,))
    return runs


def _check_stages(view: HostView, stages: Iterable[int]) -> set[int]:
    stages, count = list(stages), len(view.stages)
    wrong = [stage for stage in stages if not -count <= stage < count]
    if wrong:
        raise ValueError(
            f"{type(view.host).__name__} has {count} stages: expected stages from 0 to "
            f"{count - 1}, or -1 for the last, got {wrong}"
        )
    return {stage % count for stage in stages}


@MODELS.register_module("DWConvShortcut")
def build_with_dw_shortcuts(
    host: str | None = None, shortcut: dict | None = None, **kwargs
) -> nn.Module:
    """Build a backbone with depth-wise convolution shortcuts.

    In a config, the type of a backbone moves to ``host``; all other arguments stay the same::

        backbone=dict(
            type="smallvit.DWConvShortcut",
            host="mmpretrain.VisionTransformer",
            shortcut=dict(kernel_sizes=(3, 5)),
            arch="deit-tiny",
        )

    Args:
        host (str): Registered type of the backbone.
        shortcut (dict, optional): Keyword arguments of :func:`attach_dw_shortcuts`. Defaults to
            None, the main variant of the paper: a 3x3 convolution for every block.
        **kwargs: Arguments of the backbone.

    Returns:
        nn.Module: The backbone itself, with an additional submodule ``dw_shortcuts``.

    Raises:
        TypeError: If ``host`` is not the name of a backbone.
    """
    if host is None:
        raise TypeError(
            "smallvit.DWConvShortcut requires a host. Set it to the type of the backbone, e.g. "
            "dict(type='smallvit.DWConvShortcut', host='mmpretrain.VisionTransformer', "
            "arch='deit-tiny')"
        )
    if not isinstance(host, str):
        raise TypeError(
            f"expected host to be the registered type of a backbone, such as "
            f"'mmpretrain.VisionTransformer', got {host!r}. For a backbone that is already built, "
            "use attach_dw_shortcuts"
        )
    if host.rpartition(".")[2] == "DWConvShortcut":
        raise TypeError(
            f"host={host!r} nests shortcuts. Set host to the backbone, and several kernel sizes "
            "with shortcut=dict(kernel_sizes=(3, 5))"
        )
    return attach_dw_shortcuts(MODELS.build(dict(type=host, **kwargs)), **(shortcut or {}))
