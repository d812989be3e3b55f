_base_ = [
    "mmseg::_base_/models/upernet_r50.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="smallvit.TimmBackbone",
        model_name="pvt_v2_b0",
        out_type="featmap",
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,
        norm_eps=1e-6,
    ),
    decode_head=dict(in_channels=[32, 64, 160, 256], num_classes=150),
    auxiliary_head=dict(in_channels=160, num_classes=150),
)

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)
