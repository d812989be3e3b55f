"""Feed-forward layer of PVTv2 on channels-last maps."""

from timm.models.pvt_v2 import MlpWithDepthwiseConv
from torch import Tensor, nn

from smallvit.layers.inference import activate
from smallvit.layers.tokens import map_to_tokens, tokens_to_map


class DepthwiseMlp(nn.Module):
    """timm's MLP with a depth-wise convolution, with the same parameters and fewer copies.

    The view of the tokens as a map is recognized as channels-last even for a single image, and
    GELU allocates no memory in inference.

    Args:
        original (MlpWithDepthwiseConv): The module whose layers are reused.
    """

    def __init__(self, original: MlpWithDepthwiseConv) -> None:
        super().__init__()
        self.fc1 = original.fc1
        self.relu = original.relu
        self.dwconv = original.dwconv
        self.act = original.act
        self.fc2 = original.fc2
        self.drop = original.drop

    def forward(self, x: Tensor, feat_size: tuple[int, int]) -> Tensor:
        """Apply the MLP to tokens (B, N, C) of a grid of height and width ``feat_size``."""
        feature = self.dwconv(tokens_to_map(self.relu(self.fc1(x)), (feat_size[0], feat_size[1])))
        feature = activate(self.act, feature, self.dwconv)
        return self.drop(self.fc2(self.drop(map_to_tokens(feature))))
