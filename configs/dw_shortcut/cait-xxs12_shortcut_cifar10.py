_base_ = "./cait-xxs12_cifar10.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="smallvit.CaiT"))
