_base_ = "./deit-ti_guided_cifar100.py"

# The teacher's predictions guide, in place of its features.
model = dict(guidance=dict(loss_weight=0, logit=dict(kind="soft")))
