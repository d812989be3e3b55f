_base_ = "./cait-xxs12_cifar100.py"

model = dict(backbone=dict(with_layer_scale=False, with_talking_heads=False, with_pos_embed=False))
