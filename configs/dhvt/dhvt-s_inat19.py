_base_ = "./dhvt-t_inat19.py"

model = dict(backbone=dict(arch="small"), head=dict(in_channels=384))
