_base_ = ["../_base_/pretraining/masked-pixels_32.py", "../_base_/pretraining/swin-t-p2.py"]

model = dict(backbone=dict(backbone=_base_.network), neck=dict(in_channels=768, encoder_stride=16))
