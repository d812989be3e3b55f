_base_ = [
    "../_base_/models/dhvt_classifier.py",
    "../_base_/datasets/inat18_deit_224.py",
    "../_base_/schedules/dhvt_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 2 GPUs with 128 images each, with the ImageNet recipe, because no script was published.
model = dict(head=dict(num_classes=8142))

param_scheduler = dict(warmup=10)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
auto_scale_lr = dict(base_batch_size=256)
