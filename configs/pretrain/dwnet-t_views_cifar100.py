_base_ = ["../_base_/pretraining/views_32.py", "../_base_/pretraining/dwnet-t.py"]

model = dict(backbone=_base_.network, neck=dict(in_channels=768))
