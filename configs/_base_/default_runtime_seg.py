_base_ = ["mmseg::_base_/default_runtime.py", "guards.py"]

# MMEngine finds the scope without this import; it activates the bridge to torchvision's operators
# early enough for the tools of the MM libraries.
custom_imports = dict(imports=["smallvit"], allow_failed_imports=False)

# mmseg defines its hooks in its schedules. Two bases must not set the same key, so ours are here,
# and our segmentation schedules set none.
default_hooks = dict(
    **_base_.guards,
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
default_hooks["checkpoint"].update(
    by_epoch=False, interval=16000, max_keep_ckpts=3, save_best="mIoU"
)

# Ranks use different random augmentations and drop paths; weights are broadcast from rank 0.
randomness = dict(seed=0, diff_rank_seed=True)
