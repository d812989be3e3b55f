_base_ = "./deit-ti_guided_cifar100.py"

# The teacher's second stage alone guides.
model = dict(guidance=dict(teacher=dict(stages=(1,)), student_indices=(6,)))
