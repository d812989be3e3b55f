_base_ = "./dwnet-t_in1k.py"

model = dict(backbone=dict(arch="base", drop_path_rate=0.5), head=dict(in_channels=1024))

# 16 GPUs with 64 images each
train_dataloader = dict(batch_size=64)
