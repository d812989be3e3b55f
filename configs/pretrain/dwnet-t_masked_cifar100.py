_base_ = ["../_base_/pretraining/masked-pixels_32.py", "../_base_/pretraining/dwnet-t.py"]

model = dict(
    backbone=dict(backbone=_base_.network),
    neck=dict(in_channels=768, encoder_stride=32),
    head=dict(patch_size=8),
)

# Mask squares of 8x8 pixels, because the last feature map has a global receptive field.
crop, flip, mask, pack = _base_.train_dataloader["dataset"]["pipeline"]
mask = dict(mask, mask_patch_size=8, model_patch_size=8)
train_dataloader = dict(dataset=dict(pipeline=[crop, flip, mask, pack]))
