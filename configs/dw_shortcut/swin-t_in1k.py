_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/datasets/imagenet_swin_224.py",
    "../_base_/schedules/dw_shortcut_in1k_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 8 GPUs with 128 images each
train_dataloader = dict(batch_size=128, drop_last=True)
