_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "../_base_/schedules/coco_adamw_1x.py",
    "../_base_/default_runtime_det.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.TimmBackbone",
        model_name="pvt_v2_b0",
        out_type="featmap",
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,
        norm_eps=1e-6,
    ),
    neck=dict(in_channels=[32, 64, 160, 256]),
)
