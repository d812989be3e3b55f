_base_ = [
    "../_base_/models/mask-rcnn_custom.py",
    "../_base_/datasets/custom_coco.py",
    "../_base_/schedules/custom_adamw_50e.py",
    "../_base_/default_runtime_det.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.CvT",
        arch="13",
        out_type="featmap",
        out_indices=(0, 1, 2),
        out_norm=True,
        drop_path_rate=0.1,
    ),
    neck=dict(in_channels=[64, 192, 384]),
)
