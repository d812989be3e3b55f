_base_ = [
    "../_base_/models/mask-rcnn_custom.py",
    "../_base_/datasets/custom_coco.py",
    "../_base_/schedules/custom_adamw_50e.py",
    "../_base_/default_runtime_det.py",
]

norm_cfg = dict(type="SyncBN", requires_grad=True)

# Single-scale tokens: outputs of four depths are resized to strides 4 to 32.
model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DHVT",
        arch="tiny",
        patch_size=16,
        out_indices=(2, 5, 8, 11),
        out_type="featmap",
        drop_path_rate=0.1,
        conv_norm_cfg=norm_cfg,
    ),
    neck=[
        dict(
            type="mmseg.Feature2Pyramid",
            embed_dim=192,
            rescales=[4, 2, 1, 0.5],
            norm_cfg=norm_cfg,
        ),
        dict(type="FPN", in_channels=[192] * 4, out_channels=128, num_outs=5),
    ],
)
