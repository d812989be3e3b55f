_base_ = [
    "../_base_/models/cvt-13_classifier.py",
    "../_base_/guidance/chaoyang_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=_base_.guidance,
    head=dict(num_classes=4),
)
