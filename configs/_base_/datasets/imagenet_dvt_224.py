# ImageNet-1K for DVT: resizing, rotation and shear use bilinear or bicubic interpolation, sampled
# for each image and operation.
_base_ = "./imagenet_swin_224.py"

load, crop, flip, randaugment, *others = _base_.train_pipeline
kinds = ("bilinear", "bicubic")
crops = [[dict(crop, interpolation=kind)] for kind in kinds]
train_pipeline = [
    load,
    dict(type="RandomChoice", transforms=crops),
    flip,
    dict(randaugment, interpolation="random"),
    *others,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
