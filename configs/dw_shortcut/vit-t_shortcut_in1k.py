_base_ = [
    "../_base_/models/vit_classifier.py",
    "../_base_/datasets/imagenet_swin_224.py",
    "../_base_/schedules/dw_shortcut_in1k_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(
    backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"),
)

# 8 GPUs with 128 images each
train_dataloader = dict(batch_size=128, drop_last=True)
