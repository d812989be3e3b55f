_base_ = "./dwnet-b_cascade-3x_coco.py"

model = dict(backbone=dict(conv="dynamic"))
