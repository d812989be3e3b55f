# Your own small images, one folder per class, at 64x64; see folder.py.
_base_ = "./folder.py"

load, _, *others = _base_.train_pipeline
fit = dict(type="ResizeEdge", scale=64, edge="short", interpolation="bicubic")
shift = dict(type="RandomCrop", crop_size=64, padding=8)
train_pipeline = [load, fit, shift, *others]
test_pipeline = [load, fit, dict(type="CenterCrop", crop_size=64), others[-1]]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
