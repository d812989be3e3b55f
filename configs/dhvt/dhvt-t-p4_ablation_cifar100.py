_base_ = "./dhvt-t-p4_cifar100.py"

# The paper's ablations warm up over 10 epochs.
param_scheduler = dict(warmup=10)
