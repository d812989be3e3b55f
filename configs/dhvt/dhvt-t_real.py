_base_ = "./dhvt-t_clipart.py"

train_dataloader = dict(dataset=dict(domain="real"))
val_dataloader = dict(dataset=dict(domain="real"))
test_dataloader = val_dataloader
