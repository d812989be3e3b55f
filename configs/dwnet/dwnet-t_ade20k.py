_base_ = [
    "../_base_/models/upernet_dwnet.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)

# ImageNet weights, as published: a converted official checkpoint, see README.md.
model = dict(
    backbone=dict(
        init_cfg=dict(
            type="Pretrained", checkpoint="checkpoints/dwnet-t_in1k.pth", prefix="backbone."
        )
    )
)

# As in the official code, weight decay applies to norms with "bn" in their official name, which are
# in the blocks and heads.
exempt = ["absolute_pos_embed", "patch_embed.norm", "downsample.norm", "backbone.norm"]
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, custom_keys={name: dict(decay_mult=0.0) for name in exempt})
)
