_base_ = "./vit-t_nopos_cifar10.py"

model = dict(
    backbone=dict(model_name="vit_small_patch16_224"),
    head=dict(in_channels=384),
)
