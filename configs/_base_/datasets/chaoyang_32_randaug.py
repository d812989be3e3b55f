# Images for the teacher of locality guidance: 32x32, augmented as at 224.
_base_ = "./chaoyang_224_randaug.py"

load, crop, *others = _base_.train_pipeline
train_pipeline = [load, dict(crop, scale=32), *others]
load, resize, *others = _base_.test_pipeline
test_pipeline = [load, dict(resize, scale=(32, 32)), *others]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
