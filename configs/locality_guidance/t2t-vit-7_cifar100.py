_base_ = [
    "../_base_/datasets/cifar100_224_randaug.py",
    "../_base_/schedules/cifar_adamw_300e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.T2TViT", arch="7", img_size=224, drop_path_rate=0.1),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=256,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)
