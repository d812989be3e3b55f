_base_ = "./cait-xxs24_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="smallvit.CaiT"))
