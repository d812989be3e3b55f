_base_ = "./dhvt-t-p4_cifar100.py"

# The ablations of the paper warm up over 10 epochs.
param_scheduler = dict(warmup=10)
