_base_ = "./cait-xxs12_in1k.py"

model = dict(backbone=dict(arch="xxs24"))
