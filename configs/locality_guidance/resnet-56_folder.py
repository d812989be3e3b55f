# The teacher of deit-ti_guided_folder.py: a CNN on your images at 32x32.
_base_ = [
    "../_base_/models/resnet-56_classifier.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

load, crop, *others = _base_.train_pipeline
train_dataloader = dict(dataset=dict(pipeline=[load, dict(crop, scale=32), *others]))

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(32, 32), backend="pillow", interpolation="bilinear"),
    dict(type="PackInputs"),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
