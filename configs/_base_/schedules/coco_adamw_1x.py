# 12 epochs; a total batch of 16 at a learning rate of 1e-4.
_base_ = "mmdet::_base_/schedules/schedule_1x.py"

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]

# bfloat16, not float16: the base model diverges in float16.
optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={"absolute_pos_embed": dict(decay_mult=0.0)}
    ),
)
