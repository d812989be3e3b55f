_base_ = "./dvt-mini_digits.py"

# DW shortcuts on the blocks of all exits.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut",
        host="smallvit.DynamicViT",
        shortcut=dict(with_last=False),
    )
)
