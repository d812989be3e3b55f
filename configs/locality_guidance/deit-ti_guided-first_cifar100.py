_base_ = "./deit-ti_guided_cifar100.py"

# Only the teacher's first stage guides.
model = dict(guidance=dict(teacher=dict(stages=(0,)), student_indices=(0,)))
