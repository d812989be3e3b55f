_base_ = "./deit-ti_guided_cifar100.py"

# Guide only the last blocks.
model = dict(guidance=dict(student_indices=(9, 10, 11)))
