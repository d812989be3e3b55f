# CIFAR-100 at its original size, augmented as at 224.
_base_ = "./cifar100_224_randaug.py"

crop, *others = _base_.train_pipeline
train_pipeline = [dict(crop, scale=32), *others]
test_pipeline = [dict(type="PackInputs")]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
