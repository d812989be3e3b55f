_base_ = "./dhvt-t_finetune_clipart.py"

train_dataloader = dict(dataset=dict(domain="sketch"))
val_dataloader = dict(dataset=dict(domain="sketch"))
test_dataloader = val_dataloader
