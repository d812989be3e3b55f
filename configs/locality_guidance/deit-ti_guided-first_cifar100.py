_base_ = "./deit-ti_guided_cifar100.py"

# The teacher's first stage alone guides.
model = dict(guidance=dict(teacher=dict(stages=(0,)), student_indices=(0,)))
