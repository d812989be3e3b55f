_base_ = [
    "../_base_/models/pvt-ti_classifier.py",
    "../_base_/guidance/chaoyang_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(_base_.guidance, student_indices=(0, 3, 7)),
    head=dict(num_classes=4),
)
