_base_ = "./dhvt-s_clipart.py"

train_dataloader = dict(dataset=dict(domain="infograph"))
val_dataloader = dict(dataset=dict(domain="infograph"))
test_dataloader = val_dataloader
