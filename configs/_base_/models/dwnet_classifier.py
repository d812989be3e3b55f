_base_ = "mmpretrain::_base_/models/swin_transformer/tiny_224.py"

model = dict(
    backbone=dict(
        _delete_=True, type="smallvit.DWNet", arch="tiny", img_size=224, drop_path_rate=0.2
    ),
    neck=None,  # DWNet includes pooling
)
