_base_ = [
    "mmseg::_base_/models/upernet_r50.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

# Three stages at strides 4, 8 and 16.
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="smallvit.CvT",
        arch="13",
        out_type="featmap",
        out_indices=(0, 1, 2),
        out_norm=True,
        drop_path_rate=0.1,
    ),
    decode_head=dict(in_channels=[64, 192, 384], in_index=[0, 1, 2], num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
)

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)
