_base_ = ["../_base_/pretraining/instance_32.py", "../_base_/pretraining/dwnet-t.py"]

model = dict(backbone=_base_.network, head=dict(in_channels=768))
