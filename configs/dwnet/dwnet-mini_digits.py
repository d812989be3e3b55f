# An installation test, not a base for your own data (no augmentation); for that, use
# dwnet-t_small-images_folder.py.
_base_ = ["../_base_/datasets/digits.py", "../_base_/default_runtime.py"]

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="smallvit.DWNet", arch="mini", img_size=32, patch_size=2, drop_path_rate=0.05
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=10,
        in_channels=256,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
)

max_epochs = 20
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=5)
val_cfg = dict()
test_cfg = dict()

param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)

auto_scale_lr = dict(enable=False, base_batch_size=64)
