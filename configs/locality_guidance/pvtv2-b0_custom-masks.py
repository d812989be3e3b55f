_base_ = [
    "../_base_/models/upernet_custom.py",
    "../_base_/datasets/custom_masks.py",
    "../_base_/schedules/custom_adamw_50e.py",
    "../_base_/default_runtime_seg_epochs.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.TimmBackbone",
        model_name="pvt_v2_b0",
        out_type="featmap",
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,
        norm_eps=1e-6,
    ),
    decode_head=dict(in_channels=[32, 64, 160, 256]),
    auxiliary_head=dict(in_channels=160),
)
