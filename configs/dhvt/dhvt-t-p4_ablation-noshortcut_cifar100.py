_base_ = "./dhvt-t-p4_ablation_cifar100.py"

# DAFF without the shortcut around its depth-wise convolution.
model = dict(backbone=dict(with_shortcut=False))
