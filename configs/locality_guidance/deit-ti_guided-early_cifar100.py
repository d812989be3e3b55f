_base_ = "./deit-ti_guided_cifar100.py"

# Guide only the first blocks.
model = dict(guidance=dict(student_indices=(0, 1, 2)))
