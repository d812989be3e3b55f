# Your own small images, one folder per class, at 32x32; see folder.py. For 64x64, replace 32 by 64
# and 4 by 8 in the pipelines, and set img_size=64 if the backbone has this argument.
_base_ = "./folder.py"

load, _, *others = _base_.train_pipeline
fit = dict(type="ResizeEdge", scale=32, edge="short", interpolation="bicubic")
shift = dict(type="RandomCrop", crop_size=32, padding=4)
train_pipeline = [load, fit, shift, *others]
test_pipeline = [load, fit, dict(type="CenterCrop", crop_size=32), others[-1]]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
