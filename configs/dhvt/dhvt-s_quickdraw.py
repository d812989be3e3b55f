_base_ = "./dhvt-s_clipart.py"

train_dataloader = dict(dataset=dict(domain="quickdraw"))
val_dataloader = dict(dataset=dict(domain="quickdraw"))
test_dataloader = val_dataloader
