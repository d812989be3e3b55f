_base_ = "./cait-xxs12_bare_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="smallvit.CaiT"))
