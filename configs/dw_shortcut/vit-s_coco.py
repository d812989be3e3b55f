_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "../_base_/schedules/coco_adamw_1x.py",
    "../_base_/default_runtime_det.py",
]

norm_cfg = dict(type="SyncBN", requires_grad=True)

# Single-scale tokens at stride 16: outputs of four depths are resized to strides 4 to 32.
model = dict(
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
    neck=[
        dict(
            type="mmseg.Feature2Pyramid",
            embed_dim=384,
            rescales=[4, 2, 1, 0.5],
            norm_cfg=norm_cfg,
        ),
        dict(type="FPN", in_channels=[384] * 4, out_channels=256, num_outs=5),
    ],
)

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}
    )
)
