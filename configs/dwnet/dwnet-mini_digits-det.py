# An installation test, not a base for your own data (few proposals, at most 20 boxes per image, no
# flips); for that, use dwnet-t_custom-coco.py.
_base_ = [
    "../_base_/models/mask-rcnn_dwnet_fpn.py",
    "../_base_/datasets/digits_det.py",
    "../_base_/default_runtime_det.py",
]

# Everything is smaller than for COCO: scenes of 96x96, ten classes, two CPU cores.
norm_cfg = dict(type="BN", requires_grad=True)
strides = [4, 8, 16, 32]
width = 64

model = dict(
    backbone=dict(arch="mini", pad_to_kernel=False, drop_path_rate=0.05, norm_cfg=norm_cfg),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=width, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=width,
        feat_channels=width,
        # Boxes of digits are upright: 10 to 44 pixels high and often half as wide.
        anchor_generator=dict(scales=[5], ratios=[1.0, 2.0], strides=strides),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width, featmap_strides=strides, finest_scale=20),
        bbox_head=dict(in_channels=width, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(out_channels=width, featmap_strides=strides, finest_scale=20),
        mask_head=dict(
            num_convs=2,
            in_channels=width,
            conv_out_channels=32,
            num_classes=10,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(max_per_img=20),
    ),
)

max_epochs = 4
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

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
    type="OptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=1.5e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)

auto_scale_lr = dict(enable=False, base_batch_size=8)
