"""Straightforward implementations of models, as in papers and official code.

These are the reference for inference speed: the same weights, one operation for each term of the
equations, feature maps in torch's default memory format. Attention weights are computed explicitly,
batch norms are not folded, softmax over positions is computed for all pairs, and dynamic kernels
are applied to unfolded maps. Modules are identified by the full names of their classes, so that
their libraries need not be imported.
"""

import copy
import math
from collections.abc import Callable
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.layers.attention_form import attend, explicit_attention, select_timm_attention

#: Known values of the attribute ``scaled_dot_product_attention`` of modules.
CHOSEN = (F.scaled_dot_product_attention, attend)

_FORMS: dict[str, dict[str, Callable]] = {}


def plain_copy(model: nn.Module) -> nn.Module:
    """Copy a model with a straightforward implementation.

    Args:
        model (nn.Module): Model; it is not modified.

    Returns:
        nn.Module: Model with the same weights and, up to rounding, the same outputs.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        for kind in reversed(type(module).__mro__):
            forms = _FORMS.get(f"{kind.__module__}.{kind.__qualname__}", {})
            for name, form in forms.items():
                setattr(module, name, MethodType(form, module))
        if hasattr(module, "fused_attn"):  # timm's flag
            module.fused_attn = False
            _forget_switch(module)
        if getattr(module, "scaled_dot_product_attention", None) in CHOSEN:
            module.scaled_dot_product_attention = explicit_attention
    return model


def _forget_switch(module: nn.Module) -> None:
    """Prevent timm's ``fused_attn`` flag from being set again."""
    for number, hook in list(module._forward_pre_hooks.items()):
        if hook is select_timm_attention:
            del module._forward_pre_hooks[number]


def _form(name: str, method: str = "forward") -> Callable:
    def register(function: Callable) -> Callable:
        _FORMS.setdefault(name, {})[method] = function
        return function

    return register


def _heads(x: Tensor, num_heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], num_heads, -1).permute(0, 2, 1, 3)


def _map(tokens: Tensor, hw: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *hw)


def _tokens(feature: Tensor) -> Tensor:
    return feature.flatten(2).transpose(1, 2)


@_form("smallvit.layers.daff.DAFF", "aggregate")
def _daff(self, x: Tensor) -> Tensor:
    x = F.gelu(self.norm1(self.conv1(x)))
    local = F.gelu(self.norm2(self.conv2(x)))
    return self.norm3(self.conv3(x + local if self.with_shortcut else local))


@_form("smallvit.layers.sope.SOPE")
def _sope(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    x = self.pre_affine(x)
    for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
        x = norm(conv(F.gelu(x) if i else x))
    x = self.post_affine(F.gelu(x) if len(self.convs) == 1 else x)
    return _tokens(x), tuple(x.shape[2:])


@_form("smallvit.layers.affine.Affine")
def _affine(self, x: Tensor) -> Tensor:
    return x * self.alpha + self.beta


@_form("smallvit.layers.talking_heads.TalkingHeadsAttention")
def _talking_heads(self, x: Tensor, context: Tensor | None = None) -> Tensor:
    source = x if context is None else torch.cat((x, context), dim=1)
    query = _heads(self.q(x), self.num_heads)
    key, value = (_heads(part, self.num_heads) for part in self.kv(source).chunk(2, dim=-1))
    weights = _mix_heads(query @ key.transpose(-2, -1) * self.scale, self.mix_before)
    weights = _mix_heads(weights.softmax(dim=-1), self.mix_after)
    return self.proj((weights @ value).transpose(1, 2).flatten(2))


def _mix_heads(attention: Tensor, mixture: Tensor | None) -> Tensor:
    if mixture is None:
        return attention
    return (attention.permute(0, 2, 3, 1) @ mixture).permute(0, 3, 1, 2)


@_form("smallvit.layers.depthwise.DepthwiseConvBN")
def _depthwise(self, x: Tensor) -> Tensor:
    return self.bn(self.conv(x))


@_form("smallvit.layers.quick_gelu.QuickGELUMlp")
def _quick_gelu(self, x: Tensor) -> Tensor:
    x = self.fc1(x)
    return self.fc2(x * torch.sigmoid(1.702 * x))


@_form("smallvit.backbones.cvt.ConvAttention")
def _conv_attention(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
    extra, patches = x.split((x.shape[1] - hw[0] * hw[1], hw[0] * hw[1]), dim=1)
    feature = _map(patches, hw)
    tokens = (
        torch.cat((extra, _tokens(conv(feature))), dim=1)
        for conv in (self.conv_q, self.conv_k, self.conv_v)
    )
    query, key, value = (
        _heads(linear(each), self.num_heads)
        for linear, each in zip((self.q, self.k, self.v), tokens, strict=True)
    )
    out = explicit_attention(query, key, value, scale=self.scale)
    return self.proj(out.transpose(1, 2).flatten(2))


@_form("smallvit.backbones.pvt.SpatialReductionAttention")
def _spatial_reduction(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
    source = x if self.sr is None else self.norm(_tokens(self.sr(_map(x, hw))))
    query = _heads(self.q(x), self.num_heads)
    key, value = (_heads(part, self.num_heads) for part in self.kv(source).chunk(2, dim=-1))
    return self.proj(explicit_attention(query, key, value).transpose(1, 2).flatten(2))


@_form("smallvit.layers.token_encoder.TokenPerformer", "attend")
def _performer(self, key: Tensor, query: Tensor, value: Tensor) -> Tensor:
    key, query = _random_features(self, key), _random_features(self, query)
    total = torch.einsum("bti,bi->bt", query, key.sum(dim=1)).unsqueeze(2)
    weighted = torch.einsum("bin,bim->bnm", value.float(), key)
    weighted = torch.einsum("bti,bni->btn", query, weighted)
    return weighted / (total.repeat(1, 1, value.shape[2]) + self.eps)


def _random_features(self, x: Tensor) -> Tensor:
    count = len(self.features)
    half_norm = (x * x).sum(dim=-1, keepdim=True).repeat(1, 1, count) / 2
    return torch.exp(torch.einsum("bti,mi->btm", x.float(), self.features) - half_norm) / math.sqrt(
        count
    )


@_form("smallvit.layers.tokens_to_token.TokensToToken")
def _tokens_to_token(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    for i, (kernel, stride, padding) in enumerate(self.splits):
        hw = tuple((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
        tokens = F.unfold(x, kernel, padding=padding, stride=stride).transpose(1, 2)
        if i < len(self.encoders):
            x = _map(self.encoders[i](tokens), hw)
    return self.projection(tokens), hw


@_form("smallvit.layers.gpsa.FusedGPSA")
def _gated_positions(self, x: Tensor) -> Tensor:
    query, key = (_heads(part, self.num_heads) for part in self.qk(x).chunk(2, dim=-1))
    value = _heads(self.v(x), self.num_heads)
    height, width = len(self.rows), len(self.columns)
    dy = self.rows.repeat_interleave(width, 0).repeat_interleave(width, 1)
    dx = self.columns.repeat(height, height)
    offsets = torch.stack((dx, dy, dx**2 + dy**2), dim=-1).expand(len(x), -1, -1, -1)
    by_position = self.pos_proj(offsets).permute(0, 3, 1, 2).softmax(dim=-1)
    by_content = (query @ key.transpose(-2, -1) * self.scale).softmax(dim=-1)
    gate = torch.sigmoid(self.gating_param).view(1, -1, 1, 1)
    weights = (1 - gate) * by_content + gate * by_position
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return self.proj((weights @ value).transpose(1, 2).flatten(2))


@_form("smallvit.layers.depthwise_mlp.DepthwiseMlp")
def _depthwise_mlp(self, x: Tensor, feat_size: tuple[int, int]) -> Tensor:
    x = self.fc1(x)
    x = x.transpose(1, 2).view(*x.mT.shape[:2], *feat_size)
    return self.fc2(self.act(_tokens(self.dwconv(self.relu(x)))))


@_form("smallvit.backbones.cifar_resnet.BasicBlock")
def _basic_block(self, x: Tensor) -> Tensor:
    shortcut = x if self.downsample is None else self.downsample(x)
    x = F.relu_(self.bn1(self.conv1(x)))
    return F.relu_(shortcut + self.bn2(self.conv2(x)))


@_form("smallvit.backbones.cifar_resnet.CifarResNet")
def _cifar_resnet(self, x: Tensor) -> tuple[Tensor, ...]:
    x = F.relu_(self.bn1(self.conv1(x)))
    maps = []
    for stage in self.stages:
        x = stage(x)
        maps.append(x)
    return tuple(maps[index] for index in self.out_indices)


@_form("smallvit.layers.dw_block.DWMixer")
def _dw_mixer(self, x: Tensor) -> Tensor:
    x = x.permute(0, 3, 1, 2).contiguous()
    x = self.act(self.norm_in(self.proj_in(x)))
    x = self.act(self.norm_conv(self.conv(x)))
    return self.norm_out(self.proj_out(x)).permute(0, 2, 3, 1).contiguous()


@_form("smallvit.layers.dynamic_dwconv.DynamicDWConv2d")
def _dynamic(self, x: Tensor) -> Tensor:
    B, C, H, W = x.shape
    hidden = self.act(self.norm(self.reduce(F.adaptive_avg_pool2d(x, 1))))
    kernels = self.expand(hidden).view(B * C, 1, self.kernel_size, self.kernel_size)
    out = F.conv2d(
        x.reshape(1, B * C, H, W),
        kernels,
        self.bias.repeat(B),
        padding=self.kernel_size // 2,
        groups=B * C,
    )
    return out.view(B, C, H, W)


@_form("smallvit.layers.dynamic_dwconv.InhomogeneousDWConv2d")
def _inhomogeneous(self, x: Tensor) -> Tensor:
    (B, C, H, W), k = x.shape, math.isqrt(self.kernel_taps)
    kernels = self.expand(self.act(self.norm(self.reduce(x))))
    kernels = kernels.view(B, self.groups, 1, self.kernel_taps, H, W)
    patches = F.unfold(x, k, padding=k // 2)
    patches = patches.view(B, self.groups, C // self.groups, self.kernel_taps, H, W)
    return (patches * kernels).sum(dim=3).view(B, C, H, W)


@_form("smallvit.plugins.dw_shortcut.module.DepthwiseShortcut")
def _dw_shortcut(self, x: Tensor) -> Tensor:
    x = x.contiguous()
    return sum(branch.conv(branch.norm(self.act(x))) for branch in self.branches)


@_form("smallvit.plugins.multi_exit.reuse_modules.RelatedAttention")
def _related_attention(
    self, query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, scale=None
) -> Tensor:
    logits = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
    bias = self.passed.bias
    self.passed.logits = logits if bias is None else logits + bias
    return self.passed.logits.softmax(dim=-1) @ value


@_form("smallvit.plugins.multi_exit.reuse.FeatureReuse")
def _reuse_features(self, patches: Tensor, matrix: Tensor, num_extra: int) -> tuple:
    def resize(context: Tensor) -> Tensor:
        return F.pad(_resize_last(context.transpose(1, 2), matrix).transpose(1, 2), padding)

    padding = (0, 0, num_extra, 0)
    parts = zip(self.norms, self.mlps, strict=True)
    return tuple(resize(mlp(norm(patches))) for norm, mlp in parts)


@_form("smallvit.plugins.multi_exit.reuse.RelationReuse")
def _reuse_relations(
    self, logits: tuple, matrix: Tensor, num_extra: int, old_extra: int, trailing: int
) -> tuple:
    # Supports only exits of the same class, as in the published cascades.
    assert (old_extra, trailing) == (num_extra, 0)
    relations = self.conv2(F.gelu(self.conv1(torch.cat(tuple(logits), dim=1))))
    for _ in range(2):  # first the keys, then the queries
        extra, patches = relations[..., :num_extra], relations[..., num_extra:]
        resized = _resize_last(patches.flatten(0, 1), matrix).unflatten(0, patches.shape[:2])
        relations = torch.cat((extra, resized), dim=-1).transpose(-2, -1)
    return relations.split(self.num_heads, dim=1)


def _resize_last(values: Tensor, matrix: Tensor) -> Tensor:
    """Resize square maps (B, C, M) to the number of rows of the matrix by repeating and pooling."""
    old, new = math.isqrt(matrix.shape[1]), math.isqrt(matrix.shape[0])
    maps = F.interpolate(values.unflatten(-1, (old, old)), size=old * -(-new // old))
    return F.adaptive_avg_pool2d(maps, new).flatten(2)
