# Hidden patches or pixels of 32x32 images (MAE, SimMIM), 75% or 60% of them.
_base_ = [
    "../datasets/cifar100_32_unlabeled.py",
    "../schedules/pretrain_adamw_400e.py",
    "../default_runtime.py",
]

train_pipeline = [
    dict(type="RandomResizedCrop", scale=32, crop_ratio_range=(0.2, 1.0)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# What a backbone has behind its last block, such as a norm, is not trained.
find_unused_parameters = True

seen = dict(
    _base_.train_dataloader["dataset"],
    pipeline=[dict(type="Resize", scale=(32, 32)), dict(type="PackInputs")],
)
custom_hooks = [dict(type="smallvit.PretrainingMonitor", dataset=seen, interval=20)]
default_hooks = dict(checkpoint=dict(interval=20, save_best=None))

# 5e-4 is for 64 images.
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=256)
