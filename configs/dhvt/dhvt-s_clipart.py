_base_ = "./dhvt-t_clipart.py"

model = dict(backbone=dict(arch="small", num_heads=6), head=dict(in_channels=384))
