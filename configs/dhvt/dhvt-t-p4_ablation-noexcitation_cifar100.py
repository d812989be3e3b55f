_base_ = "./dhvt-t-p4_ablation_cifar100.py"

# DAFF without recalibration of the class token.
model = dict(backbone=dict(with_excitation=False))
