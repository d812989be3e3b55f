_base_ = "./dwnet-b_ade20k.py"

model = dict(backbone=dict(conv="dynamic"))
