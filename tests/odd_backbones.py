"""Backbones with unusual structures, each of which records the output maps of its blocks.

A backbone appends each block that it runs to ``seen``, with its output map (B, C, H, W) as computed
by its own code, which is independent of the dry run.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DIMS = 12
Output = namedtuple("Output", "weights tokens")


class Odd(nn.Module):
    """Base class of the backbones."""

    def __init__(self, patch: int = 8, dims: int = DIMS) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dims, patch, patch)
        self.seen: list[tuple[nn.Module, Tensor]] = []

    def saw(self, block: nn.Module, feature: Tensor) -> None:
        self.seen.append((block, feature))


class Attention(nn.Module):
    """A transformer block; ``form`` determines its inputs and outputs."""

    def __init__(self, form: str = "plain", dims: int = DIMS, mix: bool = True) -> None:
        super().__init__()
        self.form, self.mix = form, mix
        self.norm = nn.LayerNorm(dims)
        self.qkv, self.proj = nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)

    def run(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        weights = (q @ k.mT * x.shape[-1] ** -0.5).softmax(-1) if self.mix else 1.0
        return x + self.proj(weights @ v if self.mix else v)

    def forward(self, x, *args, tokens=None, hw=None, first=None):
        if self.form == "class token first":
            joined = self.run(torch.cat((x, args[0]), 1))
            return joined[:, :1], joined[:, 1:]
        if self.form == "tokens by name":
            return self.run(tokens)
        if self.form == "channels last maps":
            return self.run(x.flatten(1, 2)).view_as(x)
        out = self.run(x)
        if self.form == "in place":
            return x.copy_(out)
        if self.form == "named tuple":
            return Output(None, out)
        returned = {
            "tuple": (out, None),
            "list": [out],
            "dict": {"weights": None, "x": out},
            "generator": iter((out,)),
            "two tensors": (out, 2 * out),
        }
        return returned.get(self.form, out)


class Vit(Odd):
    """A plain transformer.

    Args:
        form (str): How its blocks are called, see :class:`Attention`.
        extra (int): Number of tokens before the patches.
        behind (int): Number of tokens after the patches.
        order (str): "rows", "columns", "snake", "windows" of 2x2 patches, or "reversed".
        hold (str): Container of the blocks.
        patch (int): Size of a patch.
        embedding (str): "conv", or "linear" after rearranging pixels by a module or "inline".
        fixed (tuple[int, int], optional): The only supported grid.
        joins (int): Block before which the extra tokens are concatenated to the patches.
    """

    def __init__(
        self,
        form: str = "plain",
        extra: int = 0,
        behind: int = 0,
        order: str = "rows",
        hold: str = "list",
        patch: int = 8,
        embedding: str = "conv",
        fixed: tuple[int, int] | None = None,
        mix: bool = True,
        joins: int = 0,
    ) -> None:
        super().__init__(patch)
        self.joins = joins
        self.form, self.order, self.patch, self.embedding = form, order, patch, embedding
        self.extra, self.behind = (nn.Parameter(torch.randn(1, n, DIMS)) for n in (extra, behind))
        self.pos = nn.Parameter(torch.randn(1, fixed[0] * fixed[1], DIMS)) if fixed else 0.0
        if fixed:
            self.img_size = tuple(patch * side for side in fixed)
        if embedding != "conv":
            self.embed = nn.Linear(3 * patch**2, DIMS)
            self.cut = Rearrange(patch) if embedding == "linear" else None
        blocks = [Attention(form, mix=mix) for _ in range(3)]
        self.plain = blocks if hold == "plain list" else ()
        self.blocks = {
            "list": lambda: nn.ModuleList(blocks),
            "dict": lambda: nn.ModuleDict({f"block{i}": each for i, each in enumerate(blocks)}),
            "attributes": nn.ModuleList,
            "plain list": nn.ModuleList,
            "nested": lambda: nn.ModuleList(nn.ModuleList([each]) for each in blocks),
        }[hold]()
        if hold == "attributes":
            self.block1, self.block2, self.block3 = blocks

    def each_block(self):
        blocks = [m for m in self.modules() if isinstance(m, Attention)]
        return [*blocks, *self.plain]

    def tokens_of(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        hw = x.shape[2] // self.patch, x.shape[3] // self.patch
        if self.embedding == "conv":
            tokens = self.embed(x).flatten(2).mT
        else:
            tokens = self.embed((self.cut or Rearrange(self.patch))(x))
        return ordered(tokens + self.pos, hw, self.order), hw

    def forward(self, x):
        self.seen.clear()
        tokens, hw = self.tokens_of(x)
        n = len(tokens)
        front, back = (t.expand(n, -1, -1) for t in (self.extra, self.behind))
        for index, block in enumerate(self.each_block()):
            if index == self.joins:
                tokens = torch.cat((front, tokens, back), 1)
            tokens = self.call(block, tokens, hw)
            first = self.extra.shape[1] if index >= self.joins else 0
            patches = tokens[:, first : first + hw[0] * hw[1]]
            patches = restored(patches, hw, self.order)
            self.saw(block, patches.mT.unflatten(2, hw))
        return tokens.mean(1)

    def call(self, block: nn.Module, x: Tensor, hw: tuple[int, int]) -> Tensor:
        if self.form == "tokens by name":
            return block(None, tokens=x)
        if self.form == "class token first":
            return torch.cat(block(x[:, :1], x[:, 1:]), 1)
        if self.form == "channels last maps":
            return block(x.unflatten(1, hw)).flatten(1, 2)
        if self.form == "channels first":
            return block(x.mT.contiguous().mT)
        if self.form == "batch second":
            return block(x.transpose(0, 1)).transpose(0, 1)
        if self.form == "unhooked":
            return block.forward(x)
        args = {"height, width": hw, "width, height": hw[::-1], "pair": (hw,)}.get(self.form, ())
        kwargs = {"hw": hw} if self.form == "pair by name" else {}
        out = block(x, *args, **kwargs)
        if self.form == "dict":
            return out["x"]
        if self.form == "generator":
            return next(out)
        if self.form == "two tensors":
            return out[0]
        return (
            out.tokens if isinstance(out, Output) else out[0] if type(out) in (tuple, list) else out
        )


class Rearrange(nn.Module):
    """Flatten the pixels of each patch."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, x):
        return nn.functional.unfold(x, self.patch, stride=self.patch).mT


def ordered(tokens: Tensor, hw: tuple[int, int], order: str) -> Tensor:
    return tokens[:, _order(hw, order)]


def restored(tokens: Tensor, hw: tuple[int, int], order: str) -> Tensor:
    return tokens[:, _order(hw, order).argsort()]


def _order(hw: tuple[int, int], order: str) -> Tensor:
    cells = torch.arange(hw[0] * hw[1]).view(hw)
    if order == "columns":
        return cells.T.flatten()
    if order == "snake":
        return torch.cat([row.flip(0) if i % 2 else row for i, row in enumerate(cells)])
    if order == "windows":
        rows, columns = (side // 2 for side in hw)
        return cells.view(rows, 2, columns, 2).transpose(1, 2).flatten()
    return cells.flatten().flip(0) if order == "reversed" else cells.flatten()


class Conv(nn.Module):
    """Two convolutions; ``change`` is the factor by which they increase the channels."""

    def __init__(self, dims: int = DIMS, change: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dims, dims, 3, padding=1)
        self.conv2 = nn.Conv2d(dims, dims * change, 3, padding=1)
        self.bn = nn.BatchNorm2d(dims * change)

    def forward(self, x):
        out = self.bn(self.conv2(self.conv1(x).relu()))
        return out + x.repeat(1, out.shape[1] // x.shape[1], 1, 1)


class Widens(Odd):
    """A block in the middle doubles the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Conv(), Conv(), Conv(change=2), Conv(2 * DIMS)])

    def forward(self, x):
        self.seen.clear()
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
            self.saw(block, x)
        return (x,)


class Siamese(Odd):
    """Two identical streams, called alternately, for the image and its mirror image."""

    def __init__(self, leave: bool = False) -> None:
        super().__init__()
        self.leave = leave
        self.left, self.right = (nn.ModuleList(Conv() for _ in range(3)) for _ in range(2))

    def forward(self, x):
        self.seen.clear()
        left, right = self.embed(x), self.embed(x.flip(3))
        for a, b in zip(self.left, self.right, strict=True):
            left, right = a(left), b(right)
            self.saw(a, left)
        return left if self.leave else left + right


class Shared(Odd):
    """The second of three blocks runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Conv() for _ in range(3))

    def forward(self, x):
        self.seen.clear()
        x = self.embed(x)
        for index in (0, 1, 1, 2):
            x = self.blocks[index](x)
            self.saw(self.blocks[index], x)
        return (x,)


class Windows(Odd):
    """Blocks on windows of 4x4 patches; the backbone partitions them once for all blocks."""

    def __init__(self, as_axis: bool = False) -> None:
        super().__init__()
        self.as_axis = as_axis
        self.blocks = nn.ModuleList(Attention() for _ in range(3))

    def forward(self, x):
        self.seen.clear()
        x = self.embed(x)
        b, c, h, w = x.shape
        x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
        x = x.reshape(b, -1, 16, c) if self.as_axis else x.reshape(-1, 16, c)
        for block in self.blocks:
            x = block(x)
        return x.reshape(b, -1, c).mean(1)


class Special(Odd):
    """Convolutions with one peculiarity of a user's backbone, given by ``what``."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.blocks = nn.ModuleList(Conv() for _ in range(3))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(DIMS))

    def forward(self, x):
        self.seen.clear()
        if self.what == "square only" and x.shape[2:] != (32, 32):
            raise ValueError("images must be 32 x 32")
        if self.what == "counts":
            self.count += 1
            self.last_size = x.shape[2:]
        x = self.embed(x)
        if self.what == "no gradient":
            with torch.no_grad():
                x = self.blocks[0](x)
            blocks = self.blocks[1:]
        else:
            blocks = self.blocks
        for index, block in enumerate(blocks):
            x = self.step(index, block, x)
            self.saw(block, x)
        return self.drop(x)

    def step(self, index: int, block: nn.Module, x: Tensor) -> Tensor:
        if self.what == "random":
            return block(x) + torch.randn_like(x)
        if self.what == "dead end" and index == 1:
            block(x)
            return x + 0
        if self.what == "detached":
            return block(x.detach() if index == 2 else x)
        if self.what == "counts":
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3))
        if self.what == "added in place":
            y = block(x)
            y += self.mean.view(1, -1, 1, 1)
            return y
        if self.what == "input changed afterwards":
            y = block(x)
            x.add_(1)
            return y
        return block(x)


class Pyramid(Odd):
    """Maps, then tokens on a grid of half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Conv() for _ in range(2))
        self.pool = nn.Conv2d(DIMS, DIMS, 2, 2)
        self.blocks = nn.ModuleList(Attention() for _ in range(2))

    def forward(self, x):
        self.seen.clear()
        x = self.embed(x)
        for block in self.convs:
            x = block(x)
            self.saw(block, x)
        x = self.pool(x)
        hw, x = x.shape[2:], x.flatten(2).mT
        for block in self.blocks:
            x = block(x)
            self.saw(block, x.mT.unflatten(2, hw))
        return x


class ThereAndBack(Odd):
    """Maps that shrink and grow again, as in a U-Net; its blocks form a single sequence."""

    def __init__(self) -> None:
        super().__init__(4)
        self.rows = nn.ModuleList(nn.ModuleList(Conv() for _ in range(2)) for _ in range(3))
        self.shrink = nn.Conv2d(DIMS, DIMS, 2, 2)
        self.grow = nn.ConvTranspose2d(DIMS, DIMS, 2, 2)

    def through(self, row: nn.ModuleList, x: Tensor) -> Tensor:
        for block in row:
            x = block(x)
            self.saw(block, x)
        return x

    def forward(self, x):
        self.seen.clear()
        there, bottom, back = self.rows
        x = self.through(there, self.embed(x))
        small = self.through(bottom, self.shrink(x))
        return self.through(back, x + self.grow(small))


class TwoScales(ThereAndBack):
    """Two streams of maps that run alternately and exchange features, as in HRNet."""

    def __init__(self) -> None:
        super().__init__()
        del self.rows
        self.scales = nn.ModuleList(
            nn.ModuleList(nn.ModuleList(Conv() for _ in range(2)) for _ in range(2))
            for _ in range(2)
        )

    def forward(self, x):
        self.seen.clear()
        large = self.embed(x)
        small = self.shrink(large)
        for turn in range(2):
            large = self.through(self.scales[0][turn], large)
            small = self.through(self.scales[1][turn], small)
            large, small = large + self.grow(small), small + self.shrink(large)
        return large


class Amid(Vit):
    """A class token in the middle of the patches."""

    def tokens_of(self, x):
        tokens, hw = super().tokens_of(x)
        half = tokens.shape[1] // 2
        return torch.cat((tokens[:, :half], tokens[:, :1] * 0, tokens[:, half:]), 1), hw


@dataclass(frozen=True)
class Case:
    """A backbone and the expected result.

    Args:
        build: Builds the backbone.
        blocks: Number of blocks that are found; None if the backbone is rejected.
        why: Part of the error message or of the warning.
        size: Height and width of the input images.
    """

    build: Callable[[], Odd]
    blocks: int | None = None
    why: str = ""
    size: tuple[int, int] = (48, 80)


def taken(blocks: int, why: str = "", size=(48, 80)) -> Callable:
    return lambda build: Case(build, blocks, why, size)


def refused(why: str) -> Callable:
    return lambda build: Case(build, None, why)


CASES: dict[str, Case] = {
    **{f"{n} tokens in front": taken(3)(lambda n=n: Vit(extra=n)) for n in range(4)},
    **{f"{n} tokens behind": taken(3)(lambda n=n: Vit(behind=n)) for n in (1, 2)},
    "a token in front and two behind": taken(3)(lambda: Vit(extra=1, behind=2)),
    "a token in front that joins late": taken(3)(lambda: Vit(extra=1, joins=1)),
    "a token behind that joins late": taken(3)(lambda: Vit(behind=1, joins=2)),
    "a token amid the patches": refused("not in raster order")(Amid),
    "patches of 7": taken(3, size=(50, 81))(lambda: Vit(patch=7, extra=1)),
    "patches of 5": taken(3, size=(48, 83))(lambda: Vit(patch=5, extra=2)),
    "channels last maps": taken(3)(lambda: Vit("channels last maps")),
    "height, width": taken(3)(lambda: Vit("height, width", extra=1)),
    "width, height": taken(3)(lambda: Vit("width, height")),
    "pair": taken(3)(lambda: Vit("pair", extra=1)),
    "pair by name": taken(3)(lambda: Vit("pair by name")),
    "tokens by name": taken(3)(lambda: Vit("tokens by name", extra=1)),
    "class token first": taken(3)(lambda: Vit("class token first", extra=1)),
    "channels first memory": taken(3)(lambda: Vit("channels first", extra=1)),
    "tuple": taken(3)(lambda: Vit("tuple")),
    "list": taken(3)(lambda: Vit("list")),
    "named tuple": taken(3)(lambda: Vit("named tuple")),
    "dict": taken(3)(lambda: Vit("dict")),
    "generator": refused("returns no tensor")(lambda: Vit("generator")),
    "two tensors": refused("returns 2 tensors of the shape")(lambda: Vit("two tensors")),
    "in place": refused("in place")(lambda: Vit("in place")),
    "batch second": refused("no module with layers")(lambda: Vit("batch second")),
    "unhooked": refused("no module with layers")(lambda: Vit("unhooked")),
    **{
        f"{order} order": refused("not in raster order")(lambda order=order: Vit(order=order))
        for order in ("columns", "snake", "windows", "reversed")
    },
    "windows order with convolutions": refused("not in raster order")(
        lambda: Vit(order="windows", mix=False)
    ),
    "in a dict": taken(3)(lambda: Vit(hold="dict")),
    "as attributes": taken(3)(lambda: Vit(hold="attributes")),
    "in nested lists": taken(3)(lambda: Vit(hold="nested", extra=1)),
    "in a plain list": refused("no module with layers")(lambda: Vit(hold="plain list")),
    "linear embedding": taken(3)(lambda: Vit(embedding="linear", extra=1)),
    "linear embedding inline": refused("no grid")(lambda: Vit(embedding="inline", extra=1)),
    "one grid": taken(3, size=(48, 64))(lambda: Vit(fixed=(6, 8), extra=1)),
    "one square grid": taken(3, size=(64, 64))(lambda: Vit(fixed=(8, 8), extra=2)),
    "one square grid, columns": refused("not in raster order")(
        lambda: Vit(fixed=(8, 8), order="columns")
    ),
    "widens": taken(3)(Widens),
    "siamese": taken(3, "do not depend on earlier blocks")(Siamese),
    "siamese, one unused": taken(3, "output is not used: right.0, right.1, right.2")(
        lambda: Siamese(True)
    ),
    "shared": taken(2, "runs 2 times")(Shared),
    "windows": refused("no module with layers")(Windows),
    "windows as an axis": refused("aspect ratio")(lambda: Windows(True)),
    "pyramid": taken(4)(Pyramid),
    "there and back": taken(6)(ThereAndBack),
    "two scales in turn": taken(
        4, "of another branch: scales.1.0.0, scales.1.0.1, scales.1.1.0, scales.1.1.1"
    )(TwoScales),
    "square only": taken(3, size=(32, 32))(lambda: Special("square only")),
    "dropout": taken(3)(lambda: Special("dropout")),
    "random": refused("not deterministic")(lambda: Special("random")),
    "counts": taken(3)(lambda: Special("counts")),
    "no gradient": refused("no gradient")(lambda: Special("no gradient")),
    "detached": refused("no gradient")(lambda: Special("detached")),
    "dead end": taken(2, "do not depend on earlier blocks")(lambda: Special("dead end")),
    "added in place": taken(3)(lambda: Special("added in place")),
    "input changed afterwards": refused("no gradients can be computed")(
        lambda: Special("input changed afterwards")
    ),
}
