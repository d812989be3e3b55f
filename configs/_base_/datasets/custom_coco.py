# Your own boxes and masks in COCO files. To use them, pass --cfg-options data_root=/my/data, or set
# data_root = "/my/data" in a config that inherits this one; the tools derive the classes from the
# files. For other file names, set ann_file and data_prefix of the datasets; the metrics follow.
_base_ = "mmdet::_base_/datasets/coco_instance.py"

data_root = "data/custom"
fit_to_folder = dict(data_root=data_root)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomResize", scale=(640, 640), ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(640, 640), allow_negative_crop=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(640, 640), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
# For configs with boxes only.
without_masks = dict(type="LoadAnnotations", with_bbox=True)

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_root=data_root,
        ann_file="train.json",
        data_prefix=dict(img="train/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file="val.json",
        data_prefix=dict(img="val/"),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

# Set by the tools to the annotation file of the evaluated dataset.
val_evaluator = dict(ann_file=None)
test_evaluator = val_evaluator
