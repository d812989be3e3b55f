_base_ = "./dhvt-t-p4_ablation_cifar100.py"

# SOPE without a scale and shift before and behind it.
model = dict(backbone=dict(with_affine=False))
