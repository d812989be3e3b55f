_base_ = "./dwnet-t_cascade-3x_coco.py"

model = dict(backbone=dict(conv="dynamic"))
