# CIFAR-100 at its original size with DeiT's augmentations, including repeated augmentation.
_base_ = "./cifar100_224_randaug.py"

_, *others = _base_.train_pipeline
train_pipeline = [dict(type="RandomCrop", crop_size=32, padding=4), *others]
test_pipeline = [dict(type="PackInputs")]

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    dataset=dict(pipeline=train_pipeline),
    sampler=dict(type="RepeatAugSampler", shuffle=True),
)
val_dataloader = dict(batch_size=256, num_workers=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
