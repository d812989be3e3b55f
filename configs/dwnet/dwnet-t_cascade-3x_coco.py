_base_ = [
    "../_base_/models/cascade-mask-rcnn_dwnet_fpn.py",
    "../_base_/datasets/coco_instance_ms-crop.py",
    "../_base_/schedules/coco_adamw_3x.py",
    "../_base_/default_runtime_det.py",
]
