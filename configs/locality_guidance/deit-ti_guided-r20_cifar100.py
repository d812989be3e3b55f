_base_ = "./deit-ti_guided_cifar100.py"

# A shallower teacher; train it first.
teacher = dict(
    model="smallvit::locality_guidance/resnet-20_cifar100.py",
    checkpoint="work_dirs/resnet-20_cifar100/epoch_300.pth",
)
model = dict(guidance=dict(teacher=teacher))
