_base_ = "../_base_/pretraining/views_32.py"

model = dict(
    backbone=dict(type="smallvit.DWNet", arch="tiny", img_size=32, drop_path_rate=0.2),
    neck=dict(in_channels=768),
)
