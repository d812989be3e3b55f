# Unlabeled images: all images below data_root, or those of a COCO file (ann_file).
data_root = "data/images"

data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="smallvit.UnlabeledImages", data_root=data_root, pipeline=train_pipeline),
)
