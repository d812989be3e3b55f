_base_ = "./dhvt-t_finetune_clipart.py"

model = dict(
    backbone=dict(arch="small", init_cfg=dict(checkpoint="work_dirs/dhvt-s_in1k/epoch_300.pth")),
    head=dict(in_channels=384),
)
