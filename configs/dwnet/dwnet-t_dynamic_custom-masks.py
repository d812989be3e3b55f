_base_ = "./dwnet-t_custom-masks.py"

model = dict(backbone=dict(conv="dynamic"))
