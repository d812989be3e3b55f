# CIFAR-100 enlarged to 224x224, with the crops, RandAugment and random erasing of
# tiny-transformers. mmpretrain's CIFAR images are RGB already.
_base_ = "mmpretrain::_base_/datasets/cifar100_bs16.py"

mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
data_preprocessor = dict(mean=mean, std=std)

size = 224
train_pipeline = [
    dict(type="RandomResizedCrop", scale=size, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="smallvit.RandAugment",
        policy="rand-m9-mstd0.5-inc1",
        channel_order="rgb",
        fill=mean,
        interpolation="bicubic",
    ),
    dict(type="smallvit.RandomErasing", channel_order="rgb", mean=mean, std=std),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="Resize", scale=size, backend="pillow", interpolation="bilinear"),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=128, num_workers=4, drop_last=True, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=200, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
