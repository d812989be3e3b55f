_base_ = "./vit-t_nopos_cifar100.py"

# No shortcut at the last block, because only the class token is used after it.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut",
        host="smallvit.TimmBackbone",
        shortcut=dict(with_last=False),
    )
)
