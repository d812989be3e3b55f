# The recipe of the bench for images above 64x64, with a published network.
_base_ = "./vit-mini_photos.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="VisionTransformer",
        arch="deit-tiny",
        img_size=224,
        patch_size=16,
        qkv_bias=False,
        norm_cfg=dict(type="LN", eps=1e-5),
        drop_path_rate=0.1,
    ),
    head=dict(in_channels=192),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="RandomResizedCrop",
        scale=224,
        crop_ratio_range=(0.35, 1.0),
        backend="pillow",
        interpolation="bicubic",
    ),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=224, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# Batch size 64: a quarter of the learning rate of the mini networks.
optim_wrapper = dict(optimizer=dict(lr=5e-4))
