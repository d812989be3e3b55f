_base_ = "./deit-ti_guided_cifar100.py"

# Match spatial attention instead of feature maps.
model = dict(guidance=dict(transform="attention"))
