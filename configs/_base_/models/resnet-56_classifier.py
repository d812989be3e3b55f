model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CifarResNet", depth=56),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=100, in_channels=64),
)
