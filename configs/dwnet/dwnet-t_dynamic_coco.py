_base_ = "./dwnet-t_coco.py"

model = dict(backbone=dict(conv="dynamic"))
