_base_ = "./dhvt-t-p4_ablation_cifar100.py"

# DAFF that leaves the class token as it is.
model = dict(backbone=dict(with_excitation=False))
