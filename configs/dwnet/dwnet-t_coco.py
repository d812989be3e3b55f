_base_ = [
    "../_base_/models/mask-rcnn_dwnet_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "../_base_/schedules/coco_adamw_1x.py",
    "../_base_/default_runtime_det.py",
]

# From ImageNet, as published; the file is an official checkpoint that was converted, see README.md.
model = dict(
    backbone=dict(
        init_cfg=dict(
            type="Pretrained", checkpoint="checkpoints/dwnet-t_in1k.pth", prefix="backbone."
        )
    )
)

# As officially, norms decay where the official name says "bn": in the blocks and the heads.
exempt = ["absolute_pos_embed", "patch_embed.norm", "downsample.norm", "backbone.norm"]
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, custom_keys={name: dict(decay_mult=0.0) for name in exempt})
)
