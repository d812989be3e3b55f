_base_ = "./vit-t_cifar10.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
