_base_ = "./dwnet-b_in1k.py"

model = dict(backbone=dict(conv="dynamic"))
