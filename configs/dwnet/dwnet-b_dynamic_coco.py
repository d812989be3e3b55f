_base_ = "./dwnet-b_coco.py"

model = dict(
    backbone=dict(conv="dynamic", init_cfg=dict(checkpoint="checkpoints/dwnet-b_dynamic_in1k.pth"))
)
