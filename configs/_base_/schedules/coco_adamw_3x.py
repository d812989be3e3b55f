# 36 epochs, steps at 27 and 33; otherwise as 1x, with the warm-up of the published recipe, which
# reaches the full learning rate at iteration 500.
_base_ = "./coco_adamw_1x.py"

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=501),
    dict(type="MultiStepLR", begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
