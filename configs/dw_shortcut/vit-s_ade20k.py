_base_ = [
    "mmseg::_base_/models/upernet_r50.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

norm_cfg = dict(type="SyncBN", requires_grad=True)

# Single-scale tokens at stride 16: outputs of four depths are resized to strides 4 to 32.
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="mmpretrain.VisionTransformer",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        out_type="featmap",
        out_indices=(2, 5, 8, 11),
        qkv_bias=False,
        drop_path_rate=0.1,
        norm_cfg=dict(type="LN", eps=1e-5),
    ),
    neck=dict(type="Feature2Pyramid", embed_dim=384, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
    decode_head=dict(in_channels=[384] * 4, num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
)

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}
    )
)

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)
