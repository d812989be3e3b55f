# CIFAR-10 enlarged to 224x224, with Swin's augmentations. MMPretrain's CIFAR images are already
# RGB; mean and standard deviation follow the DW shortcut recipes.
_base_ = "mmpretrain::_base_/datasets/cifar10_bs16.py"

mean = [125.307, 122.961, 113.8575]
std = [62.985, 62.0925, 66.708]
data_preprocessor = dict(mean=mean, std=std)

size = 224
enlarge = dict(type="Resize", scale=size, backend="pillow", interpolation="bilinear")
train_pipeline = [
    enlarge,
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
    enlarge,
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=size),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=128, num_workers=8, drop_last=True, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=128, num_workers=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
