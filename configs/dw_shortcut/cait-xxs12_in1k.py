_base_ = [
    "../_base_/models/cait_classifier.py",
    "../_base_/datasets/imagenet_swin_224.py",
    "../_base_/schedules/dw_shortcut_in1k_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 8 GPUs with 128 images each
train_dataloader = dict(batch_size=128, drop_last=True)

# Weight decay applies to the layer scale, as in the official code, where it is not a vector.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={".gamma": dict(decay_mult=1.0)}))
