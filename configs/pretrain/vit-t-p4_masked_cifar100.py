_base_ = ["../_base_/pretraining/masked-patches_32.py", "../_base_/pretraining/vit-t-p4.py"]

model = dict(backbone=dict(backbone=_base_.network))
