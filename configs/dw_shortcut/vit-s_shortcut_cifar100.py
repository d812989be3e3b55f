_base_ = "./vit-s_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
