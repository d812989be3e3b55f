_base_ = [
    "../_base_/models/pit-ti_classifier.py",
    "../_base_/guidance/flowers102_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=_base_.guidance,
    head=dict(num_classes=102),
)
