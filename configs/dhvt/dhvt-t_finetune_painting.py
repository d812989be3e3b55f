_base_ = "./dhvt-t_finetune_clipart.py"

train_dataloader = dict(dataset=dict(domain="painting"))
val_dataloader = dict(dataset=dict(domain="painting"))
test_dataloader = val_dataloader
