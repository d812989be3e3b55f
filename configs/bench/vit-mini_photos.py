# The recipe of the bench for small photos in class folders.
_base_ = "./vit-mini_digits.py"

data_root = "data/images"
fit_to_folder = dict(data_root=data_root)
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=32, edge="short", interpolation="bicubic"),
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=32, edge="short", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=32),
    dict(type="PackInputs"),
]
folders = dict(_delete_=True, type="smallvit.ClassFolders", data_root=data_root)
train_dataloader = dict(dataset=dict(**folders, split="train", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**folders, split="val", pipeline=test_pipeline, test_mode=True))
test_dataloader = dict(
    dataset=dict(**folders, split="test", pipeline=test_pipeline, test_mode=True)
)
