# Tiny-ImageNet enlarged to 224x224, with Swin's augmentations and ImageNet's statistics.
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
data_preprocessor = dict(num_classes=200, mean=mean, std=std, to_rgb=True)

size = 224
enlarge = dict(type="Resize", scale=size, backend="pillow", interpolation="bilinear")
train_pipeline = [
    dict(type="LoadImageFromFile"),
    enlarge,
    dict(type="RandomResizedCrop", scale=size, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    # Files are read as BGR, but mean and standard deviation are given in RGB.
    dict(
        type="smallvit.RandAugment",
        policy="rand-m9-mstd0.5-inc1",
        channel_order="bgr",
        fill=mean,
        interpolation="bicubic",
    ),
    dict(type="smallvit.RandomErasing", channel_order="bgr", mean=mean, std=std),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    enlarge,
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=size),
    dict(type="PackInputs"),
]

tiny_imagenet = dict(type="smallvit.TinyImageNet", data_root="data/tiny-imagenet-200")
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(split="train", pipeline=train_pipeline, **tiny_imagenet),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(split="val", pipeline=test_pipeline, test_mode=True, **tiny_imagenet),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_evaluator = val_evaluator
