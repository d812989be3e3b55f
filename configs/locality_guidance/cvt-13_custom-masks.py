_base_ = [
    "../_base_/models/upernet_custom.py",
    "../_base_/datasets/custom_masks.py",
    "../_base_/schedules/custom_adamw_50e.py",
    "../_base_/default_runtime_seg_epochs.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.CvT",
        arch="13",
        out_type="featmap",
        out_indices=(0, 1, 2),
        out_norm=True,
        drop_path_rate=0.1,
    ),
    decode_head=dict(in_channels=[64, 192, 384], in_index=[0, 1, 2]),
    auxiliary_head=dict(in_channels=384),
)
