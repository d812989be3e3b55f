_base_ = [
    "../_base_/models/dwnet_classifier.py",
    "../_base_/datasets/imagenet_swin_224.py",
    "../_base_/schedules/in1k_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 8 GPUs with 128 images each
train_dataloader = dict(batch_size=128, drop_last=True)

# As in the official code, batches with a NaN or infinite loss or gradient are skipped; the official
# code has no limit.
default_hooks = dict(non_finite=dict(skip=100))
