_base_ = "./deit-ti_guided_cifar100.py"

# The last blocks follow the teacher, the earlier ones are free.
model = dict(guidance=dict(student_indices=(9, 10, 11)))
