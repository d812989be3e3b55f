_base_ = "./deit-ti_guided_cifar100.py"

# Where the maps are active is compared, not the maps.
model = dict(guidance=dict(transform="attention"))
