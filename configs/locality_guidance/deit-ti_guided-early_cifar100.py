_base_ = "./deit-ti_guided_cifar100.py"

# The first blocks follow the teacher, the later ones are free.
model = dict(guidance=dict(student_indices=(0, 1, 2)))
