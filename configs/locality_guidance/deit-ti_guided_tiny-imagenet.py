_base_ = ["./deit-ti_tiny-imagenet.py", "../_base_/guidance/resnet-56_tiny-imagenet.py"]

model = dict(type="smallvit.GuidedClassifier", guidance=_base_.guidance)
