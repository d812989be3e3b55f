# Both plugins: DW shortcuts and locality guidance.
_base_ = "./vit-mini_guided_digits.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
