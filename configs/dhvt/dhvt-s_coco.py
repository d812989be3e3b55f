_base_ = "./dhvt-t_coco.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)

model = dict(
    backbone=dict(arch="small"),
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
