# ImageNet-1K as DVT is trained on it: images are resized, turned and sheared with bilinear or
# bicubic interpolation, drawn for each of them and for each operation.
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
