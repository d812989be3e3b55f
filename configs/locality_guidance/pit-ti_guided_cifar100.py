_base_ = ["./pit-ti_cifar100.py", "../_base_/guidance/resnet-56_cifar100.py"]

model = dict(type="smallvit.GuidedClassifier", guidance=_base_.guidance)
