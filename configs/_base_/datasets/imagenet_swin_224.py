# MMPretrain's ImageNet-1K with Swin's augmentations as implemented in timm, which the official code
# uses.
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"

mean, std = _base_.data_preprocessor.mean, _base_.data_preprocessor.std
load, crop, flip, _, _, pack = _base_.train_pipeline
train_pipeline = [
    load,
    crop,
    flip,
    # Files are read as BGR, but mean and standard deviation are given in RGB.
    dict(
        type="smallvit.RandAugment",
        policy="rand-m9-mstd0.5-inc1",
        channel_order="bgr",
        fill=mean,
        interpolation="bicubic",
    ),
    dict(type="smallvit.RandomErasing", channel_order="bgr", mean=mean, std=std),
    pack,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
