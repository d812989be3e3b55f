_base_ = [
    "../_base_/models/convit-ti_classifier.py",
    "../_base_/guidance/tiny-imagenet_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=_base_.guidance,
    head=dict(num_classes=200),
)
