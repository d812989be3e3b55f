_base_ = "./deit-ti_guided_cifar100.py"

# How alike the images of a batch are in the maps is compared, not the maps.
model = dict(guidance=dict(transform="similarity"))
