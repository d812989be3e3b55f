# Two large crops and eight of half the size: for each, the student predicts the teacher's output
# for the large crops.
_base_ = "./masked_32.py"

flip = dict(type="RandomFlip", prob=0.5)
jitter = dict(
    type="smallvit.ColorJitter",
    channel_order="rgb",
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
)
large = [dict(type="RandomResizedCrop", scale=32, crop_ratio_range=(0.4, 1.0)), flip, jitter]
small = [dict(type="RandomResizedCrop", scale=16, crop_ratio_range=(0.1, 0.4)), flip, jitter]
train_pipeline = [
    dict(type="MultiView", num_views=[2, 8], transforms=[large, small]),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
find_unused_parameters = False

model = dict(
    type="smallvit.ViewPrediction", neck=dict(type="smallvit.PrototypeNeck", in_channels=192)
)
