_base_ = "./dwnet-t_custom-boxes.py"

model = dict(backbone=dict(conv="dynamic"))
