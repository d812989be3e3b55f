_base_ = "./dwnet-t_in1k.py"

model = dict(backbone=dict(conv="dynamic"))
