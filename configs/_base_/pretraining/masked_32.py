# Masked patches (MAE, 75%) or pixels (SimMIM, 60%) of 32x32 images.
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

# Layers after the last block of the backbone, such as a norm, are not trained.
find_unused_parameters = True

seen = dict(
    _base_.train_dataloader["dataset"],
    pipeline=[dict(type="Resize", scale=(32, 32)), dict(type="PackInputs")],
)
custom_hooks = [dict(type="smallvit.PretrainingMonitor", dataset=seen, interval=20)]
default_hooks = dict(checkpoint=dict(interval=20, save_best=None))

# 5e-4 is for a batch size of 64.
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=256)
