_base_ = "./swin-t_noshift_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
