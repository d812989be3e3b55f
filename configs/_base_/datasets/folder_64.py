# Your own small images, in a folder for each class, at 64x64; see folder.py.
_base_ = "./folder.py"

load, _, flip, augment, erase, pack = _base_.train_pipeline
resize = dict(type="ResizeEdge", scale=64, edge="short", interpolation="bicubic")
crop = dict(type="RandomCrop", crop_size=64, padding=8)
train_pipeline = [load, resize, crop, flip, augment, erase, pack]
test_pipeline = [load, resize, dict(type="CenterCrop", crop_size=64), pack]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
