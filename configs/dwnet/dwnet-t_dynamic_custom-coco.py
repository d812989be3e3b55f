_base_ = "./dwnet-t_custom-coco.py"

model = dict(backbone=dict(conv="dynamic"))
