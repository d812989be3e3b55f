_base_ = "./vit-s_nopos_cifar10.py"

# The last shortcut is left out, since only the class token is read behind it.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut",
        host="smallvit.TimmBackbone",
        shortcut=dict(with_last=False),
    )
)
