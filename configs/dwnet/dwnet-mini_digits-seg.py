# An installation test, not a base for your own data (background weight 0.15, no augmentation); for
# that, use dwnet-t_custom-masks.py.
_base_ = [
    "../_base_/models/upernet_dwnet.py",
    "../_base_/datasets/digits_seg.py",
    "../_base_/default_runtime_seg.py",
]

# Everything is smaller than for ADE20K: scenes of 96x96, eleven classes, two CPU cores.
norm_cfg = dict(type="BN", requires_grad=True)

# Nine out of ten pixels are background. At full weight, a short run only learns to separate digits
# from background; with a lower weight, it distinguishes the digits after about 300 iterations.
class_weight = [0.15] + [1.0] * 10

model = dict(
    # Padding counts as background, because mmseg's weighted loss cannot ignore pixels.
    data_preprocessor=dict(size=(96, 96), seg_pad_val=0),
    backbone=dict(arch="mini", pad_to_kernel=False, drop_path_rate=0.0, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        channels=64,
        num_classes=11,
        dropout_ratio=0.0,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
    auxiliary_head=dict(
        in_channels=128,
        channels=32,
        num_classes=11,
        dropout_ratio=0.0,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
)

max_iters = 1500
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=250)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type="PolyLR", eta_min=0.0, power=1.0, by_epoch=False, begin=60, end=max_iters),
]
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=4e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
default_hooks = dict(checkpoint=dict(interval=max_iters))
# mmseg's runtime enables cudnn_benchmark.
env_cfg = dict(cudnn_benchmark=False)

auto_scale_lr = dict(enable=False, base_batch_size=8)
