_base_ = [
    "../_base_/models/upernet_custom.py",
    "../_base_/datasets/custom_masks.py",
    "../_base_/schedules/custom_adamw_50e.py",
    "../_base_/default_runtime_seg_epochs.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DWNet",
        arch="tiny",
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
