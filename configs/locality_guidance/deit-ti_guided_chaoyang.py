_base_ = ["./deit-ti_chaoyang.py", "../_base_/guidance/resnet-56_chaoyang.py"]

model = dict(type="smallvit.GuidedClassifier", guidance=_base_.guidance)
