_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DWNet",
        arch="tiny",
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
