_base_ = [
    "../_base_/models/t2t-vit-14_classifier.py",
    "../_base_/guidance/flowers102_adamw_300e.py",
]

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(_base_.guidance, student_indices=(0, 7, 13)),
    head=dict(num_classes=102),
)
