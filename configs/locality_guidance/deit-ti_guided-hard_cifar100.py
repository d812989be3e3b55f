_base_ = "./deit-ti_guided_cifar100.py"

# Hard distillation of the teacher's predicted class instead of its features.
model = dict(guidance=dict(loss_weight=0, logit=dict(kind="hard")))
