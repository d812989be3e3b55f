_base_ = "./deit-ti_guided_cifar100.py"

# Only the teacher's second stage guides.
model = dict(guidance=dict(teacher=dict(stages=(1,)), student_indices=(6,)))
