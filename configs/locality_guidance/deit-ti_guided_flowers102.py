_base_ = ["./deit-ti_flowers102.py", "../_base_/guidance/resnet-56_flowers102.py"]

model = dict(type="smallvit.GuidedClassifier", guidance=_base_.guidance)
