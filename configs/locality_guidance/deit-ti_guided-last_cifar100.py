_base_ = "./deit-ti_guided_cifar100.py"

# The teacher's third stage alone guides.
model = dict(guidance=dict(teacher=dict(stages=(2,)), student_indices=(11,)))
