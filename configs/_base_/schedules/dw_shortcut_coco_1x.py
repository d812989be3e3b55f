# 12 epochs; a total batch of 8 at a learning rate of 5e-5, as for Swin in the DW shortcut paper.
# Warm-up reaches the full learning rate at iteration 500.
_base_ = "./coco_adamw_1x.py"

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(lr=5e-5),
    paramwise_cfg=dict(custom_keys={"relative_position_bias_table": dict(decay_mult=0.0)}),
)
# 4 GPUs with 2 images each
auto_scale_lr = dict(base_batch_size=8)
