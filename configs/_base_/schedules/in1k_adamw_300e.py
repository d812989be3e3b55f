# 300 epochs, warm-up over 20, cosine; a total batch of 1024 at a learning rate of 1e-3.
_base_ = "mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py"

# bfloat16, not float16: the base model diverges in float16.
optim_wrapper = dict(type="smallvit.AutocastOptimWrapper", clip_grad=dict(max_norm=5.0))
