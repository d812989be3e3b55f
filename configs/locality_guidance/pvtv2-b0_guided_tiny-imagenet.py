_base_ = [
    "../_base_/models/pvtv2-b0_classifier.py",
    "../_base_/guidance/tiny-imagenet_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(_base_.guidance, student_indices=(0, 3, 7)),
    head=dict(num_classes=200),
)
