_base_ = "mmseg::_base_/datasets/ade20k.py"

dataset_type = "BaseSegDataset"
data_root = "data/digit_scenes/"
# The background is class 0 here; in ADE20K, 0 is ignored.
metainfo = dict(
    classes=("background", *"0123456789"),
    palette=[
        [0, 0, 0],
        [230, 25, 75],
        [60, 180, 75],
        [255, 225, 25],
        [0, 130, 200],
        [245, 130, 48],
        [145, 30, 180],
        [70, 240, 240],
        [240, 50, 230],
        [210, 245, 60],
        [250, 190, 212],
    ],
)

# No flips and crops, because flipped digits are not digits and half a digit is ambiguous.
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
test_pipeline = train_pipeline

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        img_suffix=".png",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        img_suffix=".png",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
