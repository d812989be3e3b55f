_base_ = "./dhvt-t-p4_ablation_cifar100.py"

# SOPE without scale and shift before and after it.
model = dict(backbone=dict(with_affine=False))
