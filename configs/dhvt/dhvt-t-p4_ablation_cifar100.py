_base_ = "./dhvt-t-p4_cifar100.py"

# The ablations of the paper warm up over 10 epochs.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=10),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=10, end=300),
]
