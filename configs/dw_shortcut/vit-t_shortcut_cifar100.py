_base_ = "./vit-t_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
