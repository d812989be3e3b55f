# ImageNet-1K as DVT is trained on it: images are resized, turned and sheared with bilinear or
# bicubic interpolation, drawn for each of them.
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"

kinds = ("bilinear", "bicubic")
load, crop, flip, randaugment, *others = _base_.train_pipeline
crops = [[dict(crop, interpolation=kind)] for kind in kinds]
operations = [
    [dict(randaugment, hparams=dict(randaugment["hparams"], interpolation=kind))] for kind in kinds
]
train_pipeline = [
    load,
    dict(type="RandomChoice", transforms=crops),
    flip,
    dict(type="RandomChoice", transforms=operations),
    *others,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
