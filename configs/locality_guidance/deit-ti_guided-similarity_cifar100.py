_base_ = "./deit-ti_guided_cifar100.py"

# Match similarities between the images of a batch instead of feature maps.
model = dict(guidance=dict(transform="similarity"))
