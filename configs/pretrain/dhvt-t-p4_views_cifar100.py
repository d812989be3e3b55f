_base_ = ["../_base_/pretraining/views_32.py", "../_base_/pretraining/dhvt-t-p4.py"]

model = dict(backbone=_base_.network)
