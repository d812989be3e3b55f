_base_ = [
    "../_base_/models/upernet_dwnet.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)

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
