_base_ = "./vit-s_cifar10.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
