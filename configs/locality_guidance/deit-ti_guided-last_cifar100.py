_base_ = "./deit-ti_guided_cifar100.py"

# Only the teacher's third stage guides.
model = dict(guidance=dict(teacher=dict(stages=(2,)), student_indices=(11,)))
