_base_ = [
    "../_base_/models/mask-rcnn_dhvt_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "../_base_/schedules/coco_adamw_1x.py",
    "../_base_/default_runtime_det.py",
]
