# 300 epochs, warm-up over 20, cosine from the first iteration; a total batch of 1024 at a
# learning rate of 1e-3.
_base_ = "mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py"

# bfloat16, not float16: the base model diverges in float16.
optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    clip_grad=dict(max_norm=5.0),
)

# Updated after every iteration, because the official loop passes the index of the finished
# iteration to the scheduler.
param_scheduler = dict(
    _delete_=True,
    type="smallvit.WarmupCosineLR",
    warmup=20,
    warmup_start_ratio=1e-3,
    eta_min_ratio=0.01,
    delay=1,
    by_epoch=True,
    convert_to_iter_based=True,
)
