_base_ = "./dwnet-t_ade20k.py"

model = dict(backbone=dict(conv="dynamic"))
