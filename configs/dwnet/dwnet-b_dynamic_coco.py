_base_ = "./dwnet-b_coco.py"

model = dict(backbone=dict(conv="dynamic"))
