_base_ = "./dwnet-t_cascade-3x_coco.py"

model = dict(
    backbone=dict(conv="dynamic", init_cfg=dict(checkpoint="checkpoints/dwnet-t_dynamic_in1k.pth"))
)
