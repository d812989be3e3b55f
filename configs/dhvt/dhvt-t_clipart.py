_base_ = [
    "../_base_/models/dhvt_classifier.py",
    "../_base_/datasets/domainnet-clipart_deit_224.py",
    "../_base_/schedules/dhvt_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 2 GPUs with 128 images each
model = dict(backbone=dict(num_heads=4), head=dict(num_classes=345))

param_scheduler = dict(warmup=20)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=256)
