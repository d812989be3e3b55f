# Both plugins: depth-wise shortcuts beside the blocks, and features that follow a CNN's.
_base_ = "./vit-mini_guided_digits.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
