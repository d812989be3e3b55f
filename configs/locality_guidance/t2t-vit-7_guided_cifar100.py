_base_ = ["./t2t-vit-7_cifar100.py", "../_base_/guidance/resnet-56_cifar100.py"]

model = dict(
    type="smallvit.GuidedClassifier", guidance=dict(_base_.guidance, student_indices=(0, 3, 6))
)
