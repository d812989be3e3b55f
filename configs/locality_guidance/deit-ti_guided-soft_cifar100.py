_base_ = "./deit-ti_guided_cifar100.py"

# Soft distillation of the teacher's predictions instead of its features.
model = dict(guidance=dict(loss_weight=0, logit=dict(kind="soft")))
