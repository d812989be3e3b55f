_base_ = "./deit-ti_guided_cifar100.py"

model = dict(guidance=dict(loss_weight=0.5))
