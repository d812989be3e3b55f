_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "../_base_/schedules/coco_adamw_1x.py",
    "../_base_/default_runtime_det.py",
]

# Three stages at strides 4, 8 and 16; the neck adds the coarser levels by pooling.
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
